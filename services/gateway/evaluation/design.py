"""Which model is asked which task next.

The plain design asks every model every task. The adaptive one first asks every model a few tasks of each category, one
of each level, and from then on asks where it matters: of all pairs of models that are neighbours in the order of a
category, it takes the pair of whose order it is least sure, and asks the one of the two whose quality is less known.
It ends when it is sure of every order, or when half of the calls of the plain design are made.

All models are asked the tasks of a category in one order, in which the levels alternate, so that shares of different
numbers of tasks can be compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from services.gateway.evaluation.estimates import Estimate, better

# Tasks of each category that every model is asked, before anything is concluded: one of each level.
LEAST = 4
# How probable an order has to be to be taken for known. A decision that is looked at again and again is wrong a little
# more often than this says.
SURE = 0.95
# Calls of the adaptive design, as a share of the plain one's.
ADAPTIVE_SHARE = 0.5
# Questions in a row that bring no grade, after which a model is left out.
MOST_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Question:
    """One task for one model."""

    model: str
    category: str
    task: str


@dataclass(slots=True)
class _Cell:
    """One model at one category: what it was not asked yet, and how it did."""

    open: list[str]
    pending: int = 0
    known: Estimate = field(default_factory=Estimate)


class Design:
    """The state of one evaluation: what was asked, and what it says."""

    def __init__(
        self, tasks: Mapping[str, Sequence[str]], models: Sequence[str], *, adaptive: bool = True
    ) -> None:
        """Begin.

        Args:
            tasks: The tasks of each category, in the order in which they are asked.
            models: Who is asked.
            adaptive: Whether to ask only where it matters; with one model there is nothing to decide between.
        """
        self.plain_calls = sum(map(len, tasks.values())) * len(models)
        self.adaptive = adaptive and len(models) > 1
        # A round of the least number of tasks is always asked.
        least = sum(min(LEAST, len(listed)) for listed in tasks.values()) * len(models)
        self.most_calls = (
            max(int(self.plain_calls * ADAPTIVE_SHARE), least) if self.adaptive else self.plain_calls
        )
        self.calls = 0
        self._cells = {
            category: {model: _Cell(list(listed)) for model in models} for category, listed in tasks.items()
        }
        self._failures = dict.fromkeys(models, 0)

    def next(self) -> Question | None:
        """What to ask now; None when nothing is left to ask before what is under way is graded."""
        if self.calls >= self.most_calls:
            return None
        chosen = self._least_asked() or (self._least_sure() if self.adaptive else None)
        if chosen is None:
            return None
        category, model = chosen
        return self._take(category, model, self._cells[category][model].open[0])

    def already(self, question: Question, grade: float) -> None:
        """Take an answer of an earlier start into account; a task or model that is not asked today is left alone."""
        cell = self._cells.get(question.category, {}).get(question.model)
        if cell is not None and question.task in cell.open:
            self.graded(self._take(question.category, question.model, question.task), grade)

    def graded(self, question: Question, grade: float) -> None:
        """Take the grade of an answer into account, 0 to 1."""
        cell = self._cells[question.category][question.model]
        cell.pending -= 1
        cell.known += Estimate(1, grade)
        self._failures[question.model] = 0

    def failed(self, question: Question) -> bool:
        """There is no grade for a question: count it as no call; True when the model is left out from now on."""
        self.ungraded(question)
        self._failures[question.model] += 1
        if self._failures[question.model] < MOST_FAILURES:
            return False
        for cells in self._cells.values():
            cells[question.model].open.clear()
        return True

    def ungraded(self, question: Question) -> None:
        """There is no grade for a question through no fault of the model: count it as no call."""
        self._cells[question.category][question.model].pending -= 1
        self.calls -= 1

    def give_back(self, question: Question) -> None:
        """A question was not asked after all; it comes first when its model and category are asked again."""
        cell = self._cells[question.category][question.model]
        cell.pending -= 1
        cell.open.insert(0, question.task)
        self.calls -= 1

    def estimates(self) -> dict[str, dict[str, Estimate]]:
        """What is known, by category and model."""
        return {
            category: {model: cell.known for model, cell in cells.items()}
            for category, cells in self._cells.items()
        }

    @property
    def unsure(self) -> int:
        """How many neighbours there are of whose order it is not sure."""
        return sum(1 for category in self._cells for *_, sure in self._pairs(category) if sure < SURE)

    def _take(self, category: str, model: str, task: str) -> Question:
        cell = self._cells[category][model]
        cell.open.remove(task)
        cell.pending += 1
        self.calls += 1
        return Question(model, category, task)

    def _least_asked(self) -> tuple[str, str] | None:
        """The category and model with the fewest questions: all of them in turn, or until each has the least number."""
        open_ = [
            (cell.known.n + cell.pending, category, model)
            for category, cells in self._cells.items()
            for model, cell in cells.items()
            if cell.open
        ]
        # The first in the order of the file, where several have as few.
        asked, category, model = min(open_, key=lambda one: one[0], default=(LEAST, "", ""))
        if not category or (self.adaptive and asked >= LEAST):
            return None
        return category, model

    def _least_sure(self) -> tuple[str, str] | None:
        chosen, least = None, SURE
        for category, cells in self._cells.items():
            for one, other, sure in self._pairs(category):
                models = [model for model in (one, other) if cells[model].open]
                if sure < least and models:
                    model = max(models, key=lambda name: cells[name].known.variance(cells[name].pending))
                    chosen, least = (category, model), sure
        return chosen

    def _pairs(self, category: str) -> Iterator[tuple[str, str, float]]:
        """Neighbours in a category's order, better first, and how sure that is once all under way is graded."""
        cells = {model: cell for model, cell in self._cells[category].items() if cell.known.n + cell.pending}
        order = sorted(cells, key=lambda model: -cells[model].known.expected)
        for one, other in pairwise(order):
            further = (cells[one].pending, cells[other].pending)
            yield one, other, better(cells[one].known, cells[other].known, further)


def in_order(levels: Mapping[str, int]) -> list[str]:
    """Tasks in the order in which they are asked: one of each level, then the next of each."""
    seen: dict[int, int] = {}
    rounds = {}
    for task, level in levels.items():
        rounds[task] = (seen.get(level, 0), level)
        seen[level] = seen.get(level, 0) + 1
    return sorted(levels, key=rounds.__getitem__)
