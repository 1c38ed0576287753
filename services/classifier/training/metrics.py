"""How good a ranking of prompts is for routing between a weak and a strong model.

The measures are RouteLLM's. PGR(c) is the share of the quality gap between the two models that is recovered when the
share c of requests with the highest scores goes to the strong one. APGR is its mean over all c: 0.5 for a random
ranking. CPT(x) is the smallest share of strong calls that recovers x of the gap.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Routing:
    """The quality of a ranking.

    Attributes:
        apgr: Mean performance gap recovered.
        cpt50: Share of strong calls that recovers half of the gap.
        cpt80: Share that recovers four fifths.
    """

    apgr: float
    cpt50: float
    cpt80: float


def recovered(scores: Vector, weak: Vector, strong: Vector) -> Vector:
    """PGR at 0, 1, ... n strong calls; prompts of equal score share their expected gain.

    Args:
        scores: Higher goes to the strong model first.
        weak: Quality of the weak model's answer, per prompt.
        strong: Quality of the strong model's answer, per prompt.
    """
    order = np.argsort(-scores, kind="stable")
    _, place, count = np.unique(-scores[order], return_inverse=True, return_counts=True)
    gain = np.bincount(place, (strong - weak)[order]) / count
    return np.concatenate([[0.0], np.cumsum(gain[place])]) / float((strong - weak).sum())


def routing(scores: Vector, weak: Vector, strong: Vector) -> Routing:
    """APGR and CPT of a ranking."""
    curve = recovered(scores, weak, strong)
    n = len(scores)

    def share(gap: float) -> float:
        k = int(np.argmax(curve >= gap - 1e-12))
        if k == 0:
            return float("nan")
        return float((k - 1 + (gap - curve[k - 1]) / (curve[k] - curve[k - 1])) / n)

    return Routing(float((curve[1:] + curve[:-1]).sum() / 2 / n), share(0.5), share(0.8))


def bootstrap(
    measure: Callable[[NDArray[np.intp]], float], n: int, seed: int, rounds: int = 300
) -> tuple[float, float]:
    """The 95 % interval of a measure of n prompts, by drawing them with replacement."""
    rng = np.random.default_rng(seed)
    values = [measure(rng.integers(0, n, n)) for _ in range(rounds)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def calibration_error(probabilities: Vector, outcomes: Vector, bins: int = 10) -> float:
    """The mean distance between predicted and observed rates, over bins of equally many prompts."""
    order = np.argsort(probabilities)
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(probabilities[part].mean() - outcomes[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(probabilities))


def in_order(scores: Vector, levels: NDArray[np.int_]) -> float:
    """The share of pairs of requests two levels or more apart whose harder one scores higher; ties are half right."""
    harder, pairs = 0.0, 0
    for level in np.unique(levels):
        low = np.sort(scores[levels == level])
        high = scores[levels >= level + 2]
        below = np.searchsorted(low, high, "left")
        harder += float(below.sum() + (np.searchsorted(low, high, "right") - below).sum() / 2)
        pairs += len(low) * len(high)
    return harder / pairs if pairs else float("nan")
