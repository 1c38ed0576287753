"""How long each model's answers are by category, so that those of one model can be estimated from another's."""

import math
from collections import defaultdict
from collections.abc import Iterable

from services.gateway.confidence import Z

# Fewer answers of a model in a category say less than all of its answers.
LEAST = 20
# Where nothing is known of a model, its answers are taken to be as long as those of then, and with a probability of
# 95 % from half to twice as long.
UNKNOWN_DEVIATION = math.log(2) / Z


class AnswerLengths:
    """Numbers, means and variances of output tokens by model and category, and by model alone (category "")."""

    def __init__(self, answers: Iterable[tuple[str, str, int]]) -> None:
        """Count answers: model, category and output tokens."""
        self._sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for model, category, tokens in answers:
            for key in ((model, category), (model, "")):
                sums = self._sums[key]
                sums[0] += 1
                sums[1] += tokens
                sums[2] += tokens * tokens

    def ratio(self, model: str, instead_of: str, category: str) -> float:
        """How many times as long a model's answers are as another one's."""
        found = self._both(model, instead_of, category)
        return found[0][1] / found[1][1] if found else 1.0

    def deviation(self, model: str, instead_of: str, category: str) -> float:
        """The standard error of the ratio, as a share of it."""
        if model == instead_of:
            return 0.0
        found = self._both(model, instead_of, category)
        if found is None:
            return UNKNOWN_DEVIATION
        return math.sqrt(sum(spread**2 / count for count, _, spread in found))

    def spread(self, model: str, instead_of: str, category: str) -> float:
        """The standard deviation of the model's single answers, as a share of their mean."""
        found = self._both(model, instead_of, category)
        return found[0][2] if found else UNKNOWN_DEVIATION

    def _both(self, *asked: str) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
        """Number, mean and relative deviation of both models' answers, over the same categories."""
        model, instead_of, category = asked
        for among in (category, ""):
            first, second = (self._sums.get((one, among)) for one in (model, instead_of))
            if first and second and min(first[0], second[0]) >= LEAST and first[1] and second[1]:
                return _moments(*first), _moments(*second)
        return None


def _moments(count: float, total: float, squares: float) -> tuple[float, float, float]:
    mean = total / count
    variance = max(0.0, squares / count - mean * mean) * count / (count - 1)
    return count, mean, math.sqrt(variance) / mean
