"""Asks what the design wants to know, grades the answers and writes them down, within a budget."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.gateway.evaluation import checks, judge, sandbox
from services.gateway.evaluation.caller import Caller, CallError, Model, SpentError
from services.gateway.evaluation.design import Design, Question
from services.gateway.evaluation.grader import Grader, judge_tokens
from services.gateway.evaluation.results import ANSWER, CHECK, GRADE, Results
from services.gateway.evaluation.spending import Spending
from services.gateway.evaluation.tasks import Task


def run_code(source: str, tests: str) -> str:
    """What failed of the tests of some code; empty where nothing did."""
    return sandbox.run(source, tests).error


def _needs_judge(task: Task) -> bool:
    return task.check is None or bool(checks.criteria(task.check))


@dataclass(frozen=True)
class Setup:
    """What is asked of whom.

    Attributes:
        tasks: By their ids.
        models: By their names.
        judge: Who grades what no check can; None leaves such tasks out.
        answer_tokens: The longest answer that is paid for.
        at_once: Questions under way at the same time.

    """

    tasks: Mapping[str, Task]
    models: Mapping[str, Model]
    judge: Model | None = None
    answer_tokens: int = 4096
    at_once: int = 4


async def _never(_: Task) -> bool:
    return False


@dataclass
class Runner:
    """One start of an evaluation.

    Attributes:
        over: Why it ended, in a few words; empty while it runs.
        left_out: Why models were left out, by name.
        withdrawn: Whether a task may not be asked any more, which is looked at before each question.
        withdrawals: The tasks of which that was so.

    """

    setup: Setup
    design: Design
    results: Results
    spending: Spending
    caller: Caller
    progress: Callable[[], None] = lambda: None
    withdrawn: Callable[[Task], Awaitable[bool]] = _never
    over: str = ""
    withdrawals: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    # What was asked at an earlier start and has no grade yet, by model and task.
    _ungraded: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _under_way: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _cpus: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1))

    def __post_init__(self) -> None:
        """Take what earlier starts learnt; tasks that changed since are asked again, but what they cost was spent."""
        self._grader = Grader(self.setup.judge, self.results, self.spending, self.caller)
        graded = {}
        for row in self.results.rows:
            self.spending.spent += row["nano_usd"]
            if row["kind"] == GRADE:
                self._grader.compared += row["compared"]
            if row["kind"] == GRADE and row["grades"]:
                graded[row["model"], row["task"], row["digest"]] = row
        for row in self.results.rows:
            task = self.setup.tasks.get(row["task"])
            if row["kind"] != ANSWER or task is None or task.digest != row["digest"] or row["failed"]:
                continue
            by_judge = graded.get((row["model"], row["task"], row["digest"]))
            question = Question(row["model"], task.category, task.id)
            if row["share"] is not None:
                self.design.already(question, row["share"])
            elif by_judge is not None:
                self.design.already(question, judge.share(by_judge["grades"]))
            else:
                self._ungraded[row["model"], row["task"]] = row

    def stop(self, why: str) -> None:
        """Ask nothing more; what is under way is waited for."""
        self.over = self.over or why

    async def run(self) -> None:
        """Ask until the design is content, the budget is spent, or `stop` is called.

        Raises:
            NoSandboxError: this machine cannot run code that a model wrote.
        """
        refused: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.setup.at_once):
                    group.create_task(self._work())
        except* sandbox.NoSandboxError as errors:
            refused = errors.exceptions[0]
        # What was under way while a task was withdrawn has been written meanwhile.
        self.results.forget(self.withdrawals)
        if refused is not None:
            raise refused
        if self.design.unsure == 0 and self.design.adaptive:
            self.stop("the order of the models is known in every category")
        if self.design.calls < self.design.plain_calls and self.design.calls >= self.design.most_calls:
            self.stop("half of the calls of asking everything were made")
        self.stop("all was asked that was to be asked")

    async def _work(self) -> None:
        while True:
            async with self._changed:
                taken = await self._take()
                if taken is None:
                    self._changed.notify_all()
                    return
                question, bound = taken
                self._under_way += 1
            try:
                await self._settle(question, bound)
            finally:
                async with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()
            self.progress()

    async def _take(self) -> tuple[Question, int] | None:
        """The next question with the money for it; waits for what others are about to learn or to give back."""
        while not self.over:
            question = self.design.next()
            if question is not None:
                bound = self._bound(question)
                if self.spending.hold(bound):
                    return question, bound
                self.design.give_back(question)
                if not self._under_way:
                    self.stop("what comes next could cost more than what is left of the budget")
            elif not self._under_way:
                return None
            if self._under_way:
                await self._changed.wait()
        return None

    async def _settle(self, question: Question, bound: int) -> None:
        """Ask, grade and write down; a failure is the design's to know, and the judge's is no model's."""
        task = self.setup.tasks[question.task]
        try:
            if await self._is_withdrawn(task):
                self.design.ungraded(question)
                return
            row = self._ungraded.pop((question.model, question.task), None)
            if row is None:
                if self._grader.is_out and _needs_judge(task):
                    self.design.ungraded(question)
                    return
                row = await self._answered(question, task)
                if row["failed"]:
                    raise CallError(row["fault"])
            if not row["checked"]:
                await self._check(question, task, row)
            share = row["share"]
            if share is None or self._grader.compares():
                by_judge = await self._graded(question, task, row["text"], compared=share is not None)
                share = by_judge if share is None else share
        except SpentError as error:
            self.design.give_back(question)
            self.stop(str(error))
        except CallError as error:
            if self.design.failed(question):
                self.left_out[question.model] = str(error)
        except BaseException:
            self.stop("it failed")
            raise
        else:
            if share is None:
                self.design.ungraded(question)
            else:
                self.design.graded(question, share)
        finally:
            self.spending.release(bound)

    async def _is_withdrawn(self, task: Task) -> bool:
        """Whether a task may not be asked any more, in which case nothing of its answers is kept."""
        if task.id not in self.withdrawals:
            try:
                if not await self.withdrawn(task):
                    return False
            except CallError as error:
                # Nobody says that it still may be asked, which is no model's fault.
                self.stop(f"it is not known whether prompts may still be used: {error}")
                return True
            self.withdrawals.add(task.id)
            self.results.forget(self.withdrawals)
        return True

    async def _graded(self, question: Question, task: Task, text: str, *, compared: bool) -> float | None:
        """What the judge says of an answer, as a share; None where it says nothing."""
        try:
            return await self._grader.share(question.model, task, text, compared=compared)
        except SpentError as error:
            self.stop(str(error))
            return None
        finally:
            if self.setup.judge is not None and self._grader.is_out:
                self.left_out[self.setup.judge.name] = f"as the judge: {self._grader.fault}"

    async def _answered(self, question: Question, task: Task) -> dict[str, Any]:
        model = self.setup.models[question.model]
        answer = await self.caller.ask(model.name, task.prompt, self._answer_tokens(model))
        failed = "" if answer.is_by(model.name) else f"{answer.model} answered instead of {model.name}"
        row = {
            "kind": ANSWER,
            "model": question.model,
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

    async def _check(self, question: Question, task: Task, row: dict[str, Any]) -> None:
        """Let the answer's row know what its check found."""
        fault = await self._fault(task, row["text"])
        self.results.append(
            {
                "kind": CHECK,
                "model": question.model,
                "task": task.id,
                "digest": task.digest,
                "share": 0.0 if fault else (None if _needs_judge(task) else 1.0),
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

    def _answer_tokens(self, model: Model) -> int:
        """The cap of an answer: what is paid for, within what the model can."""
        most = (self.setup.answer_tokens, model.most_output_tokens, model.context_window // 2)
        return min(one for one in most if one)

    def _bound(self, question: Question) -> int:
        """The most that a question can cost with its grades, in nano-USD."""
        task, model, by = self.setup.tasks[question.task], self.setup.models[question.model], self.setup.judge
        asked = sum(len(message.content.encode()) for message in task.messages)
        bound = model.prices.bound(asked, self._answer_tokens(model))
        if by is None:
            return bound
        # A token may be several bytes of what the judge then reads.
        criteria = checks.criteria(task.check) if task.check is not None else ""
        known = len(criteria.encode()) + len(task.reference.encode())
        read = judge.MOST_PROMPT_BYTES + asked + known + 8 * self._answer_tokens(model)
        return bound + 2 * by.prices.bound(read, judge_tokens(by))
