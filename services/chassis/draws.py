"""Draws that a seed decides alone, so that every replica and every repetition draws the same."""

from collections.abc import Sequence
from hashlib import blake2b

__all__ = ["fraction", "weighted"]


def fraction(seed: str) -> float:
    """A number from 0 to 1, 1 excluded, evenly spread over all seeds."""
    return int.from_bytes(blake2b(seed.encode(), digest_size=7).digest(), "big") / 2**56


def weighted(weights: Sequence[float], at: float) -> int:
    """The place where a running sum of weights passes a fraction of their total; weights of 0 all count the same."""
    total = sum(weights)
    if total <= 0:
        return min(int(at * len(weights)), len(weights) - 1)
    left = at * total
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return max(place for place, weight in enumerate(weights) if weight > 0)
