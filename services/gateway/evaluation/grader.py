"""The judge at work: it compares answers with those of one model, and is asked no more once it keeps failing."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from services.gateway.evaluation import checks, judge, pairwise
from services.gateway.evaluation.answers import Answers, Row, asked_bytes
from services.gateway.evaluation.caller import Caller, CallError, Model, SpentError
from services.gateway.evaluation.design import MOST_FAILURES
from services.gateway.evaluation.results import VERDICT, Results
from services.gateway.evaluation.spending import Spending
from services.gateway.evaluation.tasks import Task
from services.gateway.evaluation.verdicts import Pair, Said, pairs

# Pairs of checked answers, one of which is right, that a judge compares as well, to know its agreement with checks.
MOST_COMPARED = 24
# The most bytes of a token of what a model wrote and a judge reads.
TOKEN_BYTES = 8


def judge_tokens(model: Model) -> int:
    """The longest answer of a judge."""
    return min(judge.ANSWER_TOKENS, model.most_output_tokens or judge.ANSWER_TOKENS)


@dataclass
class Grader:
    """Asks the judge, if there is one.

    Attributes:
        by: The judge; None grades nothing.
        reference: Whose answers all others are compared with.
        compared: How many pairs of checked answers it compared.
        fault: Why it gave no verdict at last.

    """

    by: Model | None
    reference: Model | None
    answers: Answers
    results: Results
    spending: Spending
    caller: Caller
    compared: int = 0
    fault: str = ""
    # In a row.
    _failures: int = 0
    _said: dict[Pair, Said] = field(default_factory=dict)

    @property
    def is_out(self) -> bool:
        """Whether it failed so often in a row that it is asked nothing more, and no answer is paid for it."""
        return self._failures >= MOST_FAILURES

    def already(self, rows: Iterable[Row]) -> None:
        """Take verdicts of earlier starts; of a pair with one of them only the other one is asked for."""
        self._said = pairs(rows)
        self.compared = sum(said.compared for pair, said in self._said.items() if self._is_own(pair))

    def known(self, model: str, task: Task) -> float | None:
        """What an answer that passed its check is worth beside the reference's; None before both verdicts."""
        if self.by is None or self.reference is None:
            return None
        if model == self.reference.name:
            return pairwise.EVEN
        other = self.answers.known(self.reference.name, task)
        if other is not None and other["share"] == 0.0:
            # Its check failed, as the other answer's did not.
            return 1.0
        said = self._said.get(Pair(model, task.id, task.digest, self.by.name, self.reference.name))
        return pairwise.share(said.both) if said is not None and said.both else None

    def bound(self, model: str, task: Task) -> int:
        """The most that verdicts on an answer can cost, the reference's answer included, in nano-USD."""
        if self.by is None or self.reference is None or self.is_out or model == self.reference.name:
            return 0
        criteria = checks.criteria(task.check) if task.check is not None else ""
        known = len(criteria.encode()) + len(task.reference.encode())
        # Both answers may be as long as they can; a token may be several bytes of what the judge then reads.
        read = pairwise.MOST_PROMPT_BYTES + asked_bytes(task) + known + 2 * TOKEN_BYTES * self.answers.longest
        return self.answers.bound(self.reference, task) + 2 * self.by.prices.bound(
            read, judge_tokens(self.by)
        )

    async def share(self, task: Task, row: Row) -> float | None:
        """What an answer is worth beside the reference's, 0 to 1; None where the judge does not say.

        Raises:
            SpentError: the key has no money left.
            NoSandboxError: this machine cannot run code that a model wrote.
        """
        if self.by is None or self.reference is None or self.is_out:
            return None
        if row["model"] != self.reference.name:
            try:
                other = await self.answers.of(self.reference, task)
            except SpentError:
                raise
            except CallError as error:
                self._failed(f"{self.reference.name}, which answers are compared with, gave none: {error}")
                return None
            if other["share"] != 0.0:
                await self._ask(task, row, other, self.by, compared=False)
        return self.known(row["model"], task)

    async def compare(self, task: Task, row: Row) -> None:
        """Have a checked answer compared, too, where the reference's is known and one of both is right.

        Raises:
            SpentError: the key has no money left.
        """
        if self.by is None or self.reference is None or self.is_out or self.compared >= MOST_COMPARED:
            return
        other = self.answers.known(self.reference.name, task)
        if other is None or other["share"] == row["share"]:
            return
        self.compared += 1
        await self._ask(task, row, other, self.by, compared=True)

    def _failed(self, fault: str) -> None:
        self.fault = fault
        self._failures += 1

    def _is_own(self, pair: Pair) -> bool:
        """Whether today's judge compared with today's reference."""
        return (
            self.by is not None
            and self.reference is not None
            and (pair.judge, pair.reference) == (self.by.name, self.reference.name)
        )

    async def _ask(self, task: Task, row: Row, other: Row, by: Model, *, compared: bool) -> None:
        """Ask for the verdicts on a pair that are missing; each is written as soon as it came.

        Raises:
            SpentError: the key has no money left.
        """
        criteria = checks.criteria(task.check) if task.check is not None else ""
        pair = Pair(row["model"], task.id, task.digest, by.name, other["model"])
        said = self._said.setdefault(pair, Said(compared))
        try:
            for first in (True, False):
                if first not in said.verdicts:
                    asked = pairwise.messages(task, criteria, row["text"], other["text"], answer_first=first)
                    answer = await self.caller.ask(by.name, asked, judge_tokens(by))
                    verdict = pairwise.verdict(answer.text, answer_first=first)
                    self._write(pair, said, verdict, answer_first=first, nano_usd=answer.nano_usd)
        except SpentError:
            raise
        except CallError as error:
            self._failed(str(error))
        else:
            if said.both:
                self._failures = 0
            else:
                self._failed(f"{by.name} gave no verdict")

    def _write(
        self, pair: Pair, said: Said, verdict: int | None, *, answer_first: bool, nano_usd: int
    ) -> None:
        self.spending.spend(nano_usd)
        if verdict is not None:
            said.verdicts[answer_first] = int(verdict)
        self.results.append(
            {
                "kind": VERDICT,
                **asdict(pair),
                "answer_first": answer_first,
                "verdict": said.verdicts.get(answer_first),
                "compared": said.compared,
                "nano_usd": nano_usd,
            }
        )
