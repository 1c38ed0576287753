"""Answers of models, each asked for once, checked, and written down at once."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.gateway.evaluation import checks, sandbox
from services.gateway.evaluation.caller import Caller, CallError, Model
from services.gateway.evaluation.results import ANSWER, CHECK, Results
from services.gateway.evaluation.spending import Spending
from services.gateway.evaluation.tasks import Task

# A line of the file of results.
Row = dict[str, Any]


def run_code(source: str, tests: str) -> str:
    """What failed of the tests of some code; empty where nothing did."""
    return sandbox.run(source, tests).error


def needs_judge(task: Task) -> bool:
    """Whether no check tells all of whether an answer is right."""
    return task.check is None or bool(checks.criteria(task.check))


@dataclass
class Answers:
    """Asks for them.

    Attributes:
        longest: The longest answer that is paid for, in tokens.

    """

    results: Results
    spending: Spending
    caller: Caller
    longest: int
    _known: dict[tuple[str, str], Row] = field(default_factory=dict)
    _asking: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)
    _cpus: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1))

    def already(self, rows: Iterable[Row], tasks: Mapping[str, Task]) -> None:
        """Take answers of earlier starts, but not to tasks that changed since, and none that were taken out."""
        for row in rows:
            task = tasks.get(row["task"])
            if row["kind"] != ANSWER or row["failed"] or row.get("gone"):
                continue
            if task and task.digest == row["digest"]:
                self._known[row["model"], row["task"]] = row

    def known(self, model: str, task: Task) -> Row | None:
        """The row of an answer that is there and was checked."""
        row = self._known.get((model, task.id))
        return row if row is not None and row["checked"] else None

    async def of(self, model: Model, task: Task) -> Row:
        """The row of a model's answer, which is asked for where there is none yet.

        Raises:
            SpentError: the key has no money left.
            CallError: there is no answer, or another model gave it.
            NoSandboxError: this machine cannot run code that a model wrote.
        """
        async with self._asking.setdefault((model.name, task.id), asyncio.Lock()):
            row = self._known.get((model.name, task.id))
            if row is None:
                row = await self._asked(model, task)
                if row["failed"]:
                    raise CallError(row["fault"])
                self._known[model.name, task.id] = row
            if not row["checked"]:
                await self._check(model, task, row)
        return row

    def tokens(self, model: Model) -> int:
        """The cap of an answer: what is paid for, within what the model can."""
        most = (self.longest, model.most_output_tokens, model.context_window // 2)
        return min(one for one in most if one)

    def bound(self, model: Model, task: Task) -> int:
        """The most that an answer can still cost, in nano-USD."""
        if (model.name, task.id) in self._known:
            return 0
        return model.prices.bound(asked_bytes(task), self.tokens(model))

    async def _asked(self, model: Model, task: Task) -> Row:
        answer = await self.caller.ask(model.name, task.prompt, self.tokens(model))
        failed = "" if answer.is_by(model.name) else f"{answer.model} answered instead of {model.name}"
        row = {
            "kind": ANSWER,
            "model": model.name,
            "task": task.id,
            "digest": task.digest,
            "category": task.category,
            "level": task.level,
            # Written before any check: what was paid for is not lost, whatever the check does.
            "checked": False,
            "share": None,
            "fault": failed,
            "failed": bool(failed),
            "text": answer.text,
            "nano_usd": answer.nano_usd,
            "deployment": answer.deployment,
            "finish": answer.finish,
            "latency_ms": answer.latency_ms,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.results.append(row)
        self.spending.spend(answer.nano_usd)
        return row

    async def _check(self, model: Model, task: Task, row: Row) -> None:
        """Let the answer's row know what its check found."""
        fault = await self._fault(task, row["text"])
        self.results.append(
            {
                "kind": CHECK,
                "model": model.name,
                "task": task.id,
                "digest": task.digest,
                "share": 0.0 if fault else (None if needs_judge(task) else 1.0),
                "fault": fault,
            }
        )

    async def _fault(self, task: Task, text: str) -> str:
        if task.check is None:
            return ""
        # In a thread: an expression may take long, and code takes seconds.
        async with self._cpus:
            try:
                return await asyncio.to_thread(checks.fault, task.check, text, run_code)
            except sandbox.NoSandboxError:
                raise
            except Exception as error:  # noqa: BLE001  (no answer may end the evaluation)
                return f"its check failed: {error!r}"[:500]


def asked_bytes(task: Task) -> int:
    """How long a task's messages are."""
    return sum(len(message.content.encode()) for message in task.messages)
