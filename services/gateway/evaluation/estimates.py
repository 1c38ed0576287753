"""How good a model is at a category by the tasks it was asked, and how sure it is that one is better than another."""

import math
from dataclasses import dataclass

from services.gateway.confidence import Z

# Jeffreys' prior: half a task solved and half a task not, so that one answer proves nothing.
_PRIOR = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of one model at one category.

    Attributes:
        n: Answers that were graded.
        total: The sum of their grades, each from 0 to 1.

    """

    n: int = 0
    total: float = 0.0

    @property
    def share(self) -> float:
        """The mean grade; 0 before the first."""
        return self.total / self.n if self.n else 0.0

    @property
    def expected(self) -> float:
        """The mean after the answers, with Jeffreys' prior before them."""
        return (self.total + _PRIOR) / (self.n + 2 * _PRIOR)

    def variance(self, further: int = 0) -> float:
        """How unsure `expected` is, as it would be after so many further answers like those so far."""
        return self.expected * (1 - self.expected) / (self.n + further + 2 * _PRIOR + 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of 95 % (1927), which holds for few answers and for shares near 0 and 1.

        It is meant for grades of 0 and 1; grades between them vary less, for which it is too wide.
        """
        if not self.n:
            return 0.0, 1.0
        scale = 1 + Z**2 / self.n
        center = (self.share + Z**2 / (2 * self.n)) / scale
        radius = Z / scale * math.sqrt(self.share * (1 - self.share) / self.n + Z**2 / (4 * self.n**2))
        return max(0.0, center - radius), min(1.0, center + radius)

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.n + other.n, self.total + other.total)


def better(one: Estimate, other: Estimate, further: tuple[int, int] = (0, 0)) -> float:
    """The probability that one is truly better than the other, by the normal approximation of both posteriors."""
    spread = math.sqrt(one.variance(further[0]) + other.variance(further[1]))
    return 0.5 * (1 + math.erf((one.expected - other.expected) / (spread * math.sqrt(2))))
