"""A gateway that answers as simulated models of known strengths would, and starts of an evaluation against it."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from services.chassis.money import NANO
from services.gateway.evaluation.caller import Caller
from services.gateway.evaluation.design import Design, in_order
from services.gateway.evaluation.results import Results
from services.gateway.evaluation.runner import Runner, Setup
from services.gateway.evaluation.spending import Spending
from services.gateway.evaluation.tasks import Task

STRENGTHS = {
    "code": {"a": 0.97, "b": 0.7, "c": 0.35, "d": 0.05},
    "math": {"a": 0.05, "b": 0.97, "c": 0.7, "d": 0.35},
    "chat": {"a": 0.7, "b": 0.05, "c": 0.97, "d": 0.35},
}
# US dollars per million tokens of an answer; every answer has ten.
PRICES = {"a": 40.0, "b": 10.0, "c": 4.0, "d": 1.0, "judge": 1.0, "falls": 1.0, "broken": 1.0}
TOKENS = 10
TASKS = {
    f"{category}-{n}": Task.model_validate(
        {
            "id": f"{category}-{n}",
            "category": category,
            "level": 1 + n % 4,
            "messages": [{"role": "user", "content": f"{category} {n}"}],
            "check": {"kind": "text", "any_of": ["right"]},
            "reference": "right",
        }
    )
    for category in STRENGTHS
    for n in range(20)
}


@dataclass
class FakeGateway:
    """What it was asked; it answers wrong questions as Lumni does."""

    url: str = ""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    judged: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    limited: int = 0
    spent_after: int = 10**9
    input_usd: float = 0.0
    judge_says: str = "Fine.\nBetter: 1"
    # Which of the judge's two calls for an answer fail.
    judge_breaks: str = ""
    judge_calls: int = 0
    # Models that answer once they may.
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    # The judge's second call has begun; it is answered once it may be.
    second_verdict: tuple[asyncio.Event, asyncio.Event] | None = None
    # What it says of what it reads, in place of `judge_says`.
    judges: Callable[[str], str] | None = None
    # What users asked, by request: the body of each.
    prompts: dict[str, Any] = field(default_factory=dict)
    # Whether any plan lets them be evaluated.
    consented: bool = True
    plans: list[str] = field(default_factory=lambda: ["open"])

    async def drawn(self, request: web.Request) -> web.Response:
        if not self.consented:
            return error(409, "no plan lets prompts be evaluated", "conflict")
        data = [{"request_id": ident, "category": ident.split("-")[0]} for ident in self.prompts]
        return web.json_response({"plans": self.plans, "data": data})

    async def prompt(self, request: web.Request) -> web.Response:
        ident = request.match_info["request_id"]
        if ident not in self.prompts:
            return error(404, "there is none any more", "request_not_found")
        kept = {"category": ident.split("-")[0], "strong_win_rate": 0.6, "request": self.prompts[ident]}
        return web.json_response(kept)

    async def model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "auto":
            return web.json_response({"id": name})
        own = {
            "input_usd_per_mtok": self.input_usd,
            "output_usd_per_mtok": PRICES[name],
            "max_output_tokens": None,
            "context_window": 8192,
        }
        return web.json_response({"id": name, "lumni": own})

    async def models(self, request: web.Request) -> web.Response:
        own = [("a", True, 1.0), ("free", True, 0.0), ("gone", False, 1.0), ("unpriced", True, None)]
        rows = [
            {"id": name, "lumni": {"available": available, "input_usd_per_mtok": price}}
            for name, available, price in own
        ]
        return web.json_response({"data": [{"id": "auto"}, *rows]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, question = body["model"], body["messages"][-1]["content"]
        assert {"use-cache": False} == body["cache"]
        assert {"system_prompts": False} == body["lumni"]
        if self.limited:
            self.limited -= 1
            return error(429, "slow down", "rate_limit_exceeded", {"retry-after": "0"})
        if len(self.asked) >= self.spent_after:
            return error(429, "the budget is spent", "insufficient_quota")
        if name == "broken":
            return error(400, "it is broken", "bad")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if name == "judge":
            self.judge_calls += 1
            if self.judge_breaks == "both" or (self.judge_breaks == "second" and self.judge_calls % 2 == 0):
                return error(400, "it is out", "bad")
            if self.second_verdict is not None and self.judge_calls == 2:
                began, goes_on = self.second_verdict
                began.set()
                await goes_on.wait()
            self.judged.append(question)
            return answered("judge", self.judge_says if self.judges is None else self.judges(question))
        self.asked[name, question] += 1
        if name in self.holds:
            await self.holds[name].wait()
        if name == "falls":
            return answered("a", "right")
        share = STRENGTHS[question.split()[0]][name]
        right = random.Random(f"3/{name}/{question}").random() < share
        return answered(name, "It is right." if right else "No idea.")


def answered(name: str, text: str) -> web.Response:
    return web.json_response(
        {
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "lumni": {
                "model": name,
                "deployment": f"{name}-1",
                "cost": {"nano_usd": round(PRICES[name] * TOKENS * 1000)},
            },
        }
    )


def error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status, headers=headers)


async def started(
    gateway: FakeGateway,
    path: Path,
    *,
    models: str = "a b c d",
    tasks: Mapping[str, Task] = TASKS,
    usd: float = 10.0,
    by: str = "",
    reference: str = "",
    stop_after: int = 0,
    at_once: int = 4,
    everything: bool = False,
    withdrawn: Callable[[Task], Awaitable[bool]] | None = None,
) -> Runner:
    """One start; it ends where it would, or is interrupted."""
    async with Caller(gateway.url, "key") as caller:
        levels: dict[str, dict[str, int]] = {}
        for one in tasks.values():
            levels.setdefault(one.category, {})[one.id] = one.level
        asked = {name: await caller.model(name) for name in models.split()}
        design = Design(
            {category: in_order(listed) for category, listed in levels.items()},
            list(asked),
            adaptive=not everything,
        )
        grader = await caller.model(by) if by else None
        other = await caller.model(reference or models.split(maxsplit=1)[0]) if by else None
        with opened(path) as results:
            setup = Setup(tasks, asked, grader, other, answer_tokens=TOKENS, at_once=at_once)
            runner = Runner(setup, design, results, Spending(round(usd * NANO)), caller)
            if withdrawn is not None:
                runner.withdrawn = withdrawn
            if stop_after:

                def count() -> None:
                    if len(results.rows) >= stop_after:
                        runner.stop("it was interrupted")

                runner.progress = count
            await asyncio.wait_for(runner.run(), 120)
            return runner


@contextmanager
def opened(path: Path) -> Iterator[Results]:
    with Results(path) as results:
        yield results
