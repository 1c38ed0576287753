"""Traffic of an experiment, drawn from a seed: users who differ, costs with a long tail, rare errors."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.experiments import conclusion
from services.gateway.experiments.statistics import Moments


@dataclass
class Sums:
    """The moments of one number, kept up to date."""

    requests: int = 0
    total: float = 0.0
    squares: float = 0.0
    unit_counts: float = 0.0
    unit_totals: float = 0.0
    unit_products: float = 0.0

    def __post_init__(self) -> None:
        self.units: defaultdict[int, tuple[int, float]] = defaultdict(lambda: (0, 0.0))

    def add(self, unit: int, value: float) -> None:
        count, total = self.units[unit]
        self.units[unit] = count + 1, total + value
        self.requests += 1
        self.total += value
        self.squares += value * value
        self.unit_counts += 2 * count + 1
        self.unit_totals += (2 * total + value) * value
        self.unit_products += (count + 1) * (total + value) - count * total

    def moments(self) -> Moments:
        return Moments(
            len(self.units),
            self.requests,
            self.total,
            self.squares,
            self.unit_counts,
            self.unit_totals,
            self.unit_products,
        )


@dataclass(frozen=True)
class Variant:
    """How the requests of one variant are, in the mean."""

    cost: float = 0.002
    errors: float = 0.02


def looks(
    seed: int, variants: dict[str, Variant], *, users: int = 1000, requests: int = 4000, every: int = 40
) -> Iterator[conclusion.Measured]:
    """What is measured at each look, of which there is one after so many requests."""
    draw = random.Random(seed)
    names = list(variants)
    # Some users write much and dear requests, and each stays with one variant.
    size = [draw.lognormvariate(0, 0.5) for _ in range(users)]
    rate = [draw.lognormvariate(0, 1) for _ in range(users)]
    of = [draw.choice(names) for _ in range(users)]
    sums = {name: {metric: Sums() for metric in conclusion.METRICS} for name in names}
    who = draw.choices(range(users), rate, k=requests)
    for number, user in enumerate(who, 1):
        mine, one = sums[of[user]], variants[of[user]]
        failed = draw.random() < one.errors
        mine["error_share"].add(user, failed)
        mine["cost_usd"].add(user, 0.0 if failed else one.cost * size[user] * draw.lognormvariate(0, 0.7))
        if number % every == 0:
            yield {
                name: {metric: one.moments() for metric, one in metrics.items()}
                for name, metrics in sums.items()
            }
