"""Asks what the design wants to know, grades the answers and writes them down, within a budget."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from services.gateway.evaluation import sandbox
from services.gateway.evaluation.answers import Answers, Row, needs_judge
from services.gateway.evaluation.caller import Caller, CallError, Model, SpentError
from services.gateway.evaluation.design import Design, Question
from services.gateway.evaluation.grader import Grader
from services.gateway.evaluation.results import Results
from services.gateway.evaluation.spending import Spending
from services.gateway.evaluation.tasks import Task


@dataclass(frozen=True)
class Setup:
    """What is asked of whom.

    Attributes:
        tasks: By their ids.
        models: By their names.
        judge: Who compares answers where no check tells; None leaves such tasks out.
        reference: Whose answers all others are then compared with.
        answer_tokens: The longest answer that is paid for.
        at_once: Questions under way at the same time.

    """

    tasks: Mapping[str, Task]
    models: Mapping[str, Model]
    judge: Model | None = None
    reference: Model | None = None
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
    _under_way: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        """Take what earlier starts learnt; tasks that changed since are asked again, but what they cost was spent."""
        setup = self.setup
        self._answers = Answers(self.results, self.spending, self.caller, setup.answer_tokens)
        self._grader = Grader(
            setup.judge, setup.reference, self._answers, self.results, self.spending, self.caller
        )
        rows = self.results.rows
        self._answers.already(rows, setup.tasks)
        self.spending.spent += sum(row["nano_usd"] for row in rows)
        self._grader.already(rows)
        for task in setup.tasks.values():
            for model in setup.models:
                answered = self._answers.known(model, task)
                if answered is None:
                    continue
                share = answered["share"]
                if share is None:
                    share = self._grader.known(model, task)
                if share is not None:
                    self.design.already(Question(model, task.category, task.id), share)

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
        await self._forget()
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
            known = self._answers.known(question.model, task)
            if known is None and self._grader.is_out and needs_judge(task):
                self.design.ungraded(question)
                return
            row = await self._answers.of(self.setup.models[question.model], task)
            if task.id in self.withdrawals:
                # While the answer was under way: no judge may read it.
                self.design.ungraded(question)
                return
            share = await self._judged(task, row)
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
        try:
            if not await self._look_up(task):
                return False
        except CallError as error:
            # Nobody says that it still may be asked, which is no model's fault.
            self.stop(f"it is not known whether prompts may still be used: {error}")
            return True
        self.results.forget(self.withdrawals)
        return True

    async def _look_up(self, task: Task) -> bool:
        if task.id not in self.withdrawals and await self.withdrawn(task):
            self.withdrawals.add(task.id)
        return task.id in self.withdrawals

    async def _forget(self) -> None:
        """Take out the answers to all that was withdrawn by now, those that came meanwhile included."""
        answered = {row["task"] for row in self.results.rows if not row.get("gone")}
        # Where nobody says, the next start looks.
        with suppress(CallError):
            for task in self.setup.tasks.values():
                if task.id in answered:
                    await self._look_up(task)
        self.results.forget(self.withdrawals)

    async def _judged(self, task: Task, row: Row) -> float | None:
        """What an answer is worth by its check, else by the judge; None where that says nothing."""
        try:
            if row["share"] is None:
                return await self._grader.share(task, row)
            await self._grader.compare(task, row)
        except SpentError as error:
            self.stop(str(error))
        finally:
            if self.setup.judge is not None and self._grader.is_out:
                self.left_out[self.setup.judge.name] = f"as the judge: {self._grader.fault}"
        share: float | None = row["share"]
        return share

    def _bound(self, question: Question) -> int:
        """The most that a question can cost with its verdicts, in nano-USD."""
        task = self.setup.tasks[question.task]
        return self._answers.bound(self.setup.models[question.model], task) + self._grader.bound(
            question.model, task
        )
