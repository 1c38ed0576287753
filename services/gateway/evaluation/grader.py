"""The judge at work: it is asked for the grades of an answer, and no more once it keeps failing."""

from dataclasses import dataclass

from services.gateway.evaluation import checks, judge
from services.gateway.evaluation.caller import Caller, CallError, Model, SpentError
from services.gateway.evaluation.design import MOST_FAILURES
from services.gateway.evaluation.results import GRADE, Results
from services.gateway.evaluation.spending import Spending
from services.gateway.evaluation.tasks import Task

# Checked answers that a judge grades as well, so that its agreement with the checks is known.
MOST_COMPARED = 24


def judge_tokens(model: Model) -> int:
    """The longest answer of a judge."""
    return min(judge.ANSWER_TOKENS, model.most_output_tokens or judge.ANSWER_TOKENS)


@dataclass
class Grader:
    """Asks the judge, if there is one.

    Attributes:
        compared: How many checked answers it graded.
        fault: Why it gave no grade at last.

    """

    by: Model | None
    results: Results
    spending: Spending
    caller: Caller
    compared: int = 0
    fault: str = ""
    # In a row.
    _failures: int = 0

    @property
    def is_out(self) -> bool:
        """Whether it failed so often in a row that it is asked nothing more, and no answer is paid for it."""
        return self._failures >= MOST_FAILURES

    def compares(self) -> bool:
        """Whether it is to grade a checked answer too."""
        if self.by is None or self.is_out or self.compared >= MOST_COMPARED:
            return False
        self.compared += 1
        return True

    async def share(self, model: str, task: Task, text: str, *, compared: bool) -> float | None:
        """What it says of a model's answer, as a share; None where it says nothing.

        Raises:
            SpentError: the key has no money left.
        """
        if self.by is None or self.is_out:
            return None
        try:
            grades = await self._grades(model, task, text, self.by, compared=compared)
        except SpentError:
            raise
        except CallError as error:
            grades, self.fault = [], str(error)
        else:
            self.fault = f"{self.by.name} gave no grade"
        self._failures = 0 if grades else self._failures + 1
        return judge.share(grades) if grades else None

    async def _grades(self, model: str, task: Task, text: str, by: Model, *, compared: bool) -> list[int]:
        """Two grades; none where an answer does not end with one.

        Raises:
            CallError: it does not answer.
        """
        criteria = checks.criteria(task.check) if task.check is not None else ""
        grades: list[int] = []
        nano_usd, graded = 0, False
        try:
            for answer_first in (False, True):
                asked = judge.messages(task, criteria, text, answer_first=answer_first)
                said = await self.caller.ask(by.name, asked, judge_tokens(by))
                nano_usd += said.nano_usd
                found = judge.grade(said.text)
                if found is not None:
                    grades.append(found)
            graded = len(grades) == 2
        finally:
            # What the first cost was spent, whatever becomes of the second.
            self.spending.spend(nano_usd)
            self.results.append(
                {
                    "kind": GRADE,
                    "model": model,
                    "task": task.id,
                    "digest": task.digest,
                    "judge": by.name,
                    "grades": grades if graded else [],
                    "compared": compared,
                    "nano_usd": nano_usd,
                }
            )
        return grades if graded else []
