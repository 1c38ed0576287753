"""Prompts of users as tasks: drawn where they may be, and looked for again before each use.

What a model answered to a prompt that is gone, or may not be used any more, goes from the file of results, too.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.gateway.evaluation.caller import Caller, CallError, NotFoundError
from services.gateway.evaluation.results import Results
from services.gateway.evaluation.tasks import CATEGORIES, Message, Task, conversation

_PATH = "/admin/evaluation/prompts"
# Those that make an answer something else than a text, or need what only the caller has.
_NOT_TEXT = ("tools", "functions", "response_format", "audio", "modalities", "prediction")
# A prompt that is longer says more of a document than of the models, and is dear, in bytes.
LONGEST = 64 * 1024


@dataclass(frozen=True)
class Wanted:
    """Which prompts: since a moment (ISO 8601), of one plan or all that allow it, so many of each category.

    Attributes:
        window: The moment as it was given, such as 7d: the same words mean the same at a later start.

    """

    since: str
    plan: str = ""
    each: int = 20
    seed: str = ""
    categories: Collection[str] = ()
    window: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What a start that goes on has to say as well, by the options' names."""
        said = {
            "--traffic": self.window,
            "--of-plan": self.plan,
            "--each": self.each,
            "--seed": self.seed,
            "--categories": ",".join(sorted(self.categories)),
        }
        return {name: value or "(none)" for name, value in said.items()}


class Traffic:
    """Reads prompts of users through the gateway, with an admin's key."""

    def __init__(self, admin: Caller) -> None:
        self._admin = admin
        # How many were passed over: gone meanwhile, no plain text, too long, or of a conversation that has one already.
        self.passed_over = 0
        self._plans: Sequence[str] = ()

    async def tasks(self, wanted: Wanted, results: Results) -> dict[str, Task]:
        """The prompts by their requests' ids; those of an earlier start where the file of results has some.

        Raises:
            CallError: no plan allows it, nothing is kept, none is left, or the gateway does not answer.
        """
        # Before anything else: what may not be used any more is taken out although no plan allows anything now.
        again = await self._again(results) if results.prompts else None
        params = {"from": wanted.since, "plan": wanted.plan, "each": wanted.each, "seed": wanted.seed}
        drawn = await self._admin.read(_PATH, params)
        self._plans = drawn["plans"]
        if again is not None:
            if not again:
                raise CallError(
                    "none of the prompts that were drawn may be used any more; choose another --results"
                )
            # Others that allow it by now have no part in it.
            self._plans = [plan for plan in results.plans if plan in self._plans]
            return again
        tasks: dict[str, Task] = {}
        known: set[Message] = set()
        found: Counter[str] = Counter()
        for one in drawn["data"]:
            category = one["category"]
            if found[category] >= wanted.each or (wanted.categories and category not in wanted.categories):
                continue
            task = await self._task(one["request_id"])
            # All requests of a conversation begin with the same.
            first = next((one for one in task.messages if one.role == "user"), None) if task else None
            if task is None or first is None or first in known:
                self.passed_over += 1
                continue
            known.add(first)
            found[category] += 1
            tasks[task.id] = task
        if not tasks:
            raise CallError(
                f"no prompt of {_listed(self._plans)} that can be evaluated was kept since {wanted.since}"
            )
        results.draw(tasks, self._plans, wanted.options)
        return tasks

    def said(self, count: int) -> str:
        """What is sent, in words."""
        return (
            f"{count} prompts of users of {_listed(self._plans)}, which let them be evaluated (evaluate_prompts); "
            f"{self.passed_over} were passed over."
        )

    async def withdrawn(self, task: Task) -> bool:
        """Whether a prompt may not be used any more.

        Raises:
            CallError: the gateway does not say.
        """
        return await self._task(task.id) is None

    async def _again(self, results: Results) -> dict[str, Task]:
        found = {ident: await self._task(ident) for ident in results.prompts}
        gone = [ident for ident, task in found.items() if task is None]
        results.forget(gone)
        self.passed_over += len(gone)
        return {ident: task for ident, task in found.items() if task is not None}

    async def _task(self, ident: str) -> Task | None:
        try:
            kept = await self._admin.read(f"{_PATH}/{ident}", {})
        except NotFoundError:
            return None
        return task(ident, kept)


def task(ident: str, kept: Mapping[str, Any]) -> Task | None:
    """A kept prompt as a task; None for one that is no chat of plain texts, or is too long."""
    body = kept["request"]
    if not isinstance(body, dict) or any(body.get(name) for name in _NOT_TEXT):
        return None
    try:
        category = kept["category"] if kept["category"] in CATEGORIES else "other"
        level = 1 + min(3, int(4 * kept["strong_win_rate"]))
        found = Task.model_validate(
            {"id": ident, "category": category, "level": level, "messages": conversation(body)}
        )
    except (KeyError, TypeError, ValidationError):
        return None
    return found if sum(len(one.content.encode()) for one in found.messages) <= LONGEST else None


def _listed(plans: Collection[str]) -> str:
    return f"the plan{'s' if len(plans) > 1 else ''} {', '.join(plans)}"
