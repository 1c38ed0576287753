"""Fast or powerful: the tier of one request, by its policy, the operator's options and the classifier's opinion."""

from dataclasses import dataclass

from services.selector.live.powerful_share import Threshold

# The threshold where none is set: a powerful model must be more likely than not to answer better.
EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Split:
    """Where powerful begins: a share that is kept, or a fixed threshold, or with neither the classifier's own tier."""

    share: float | None = None
    threshold: float | None = None

    def of_policy(self, *, share: float | None, threshold: float | None) -> "Split":
        """What holds for a policy that may have one of its own, where this is the operator's option."""
        if threshold is not None:
            return Split(threshold=threshold)
        share = self.share if share is None else share
        return Split(share=share) if share is not None else self


@dataclass(frozen=True, slots=True)
class Judged:
    """What the classifier found: the strong win rate, and its own tier; without a version it was not asked."""

    rate: float
    version: str
    powerful: bool | None


def decide(
    judged: Judged, seed: str, *, forced: bool | None, fixed: float | None, share: Threshold | None
) -> tuple[bool, float]:
    """Whether a request is powerful, and the threshold that said so; 0.0 where the classifier's own tier did.

    Args:
        judged: What the classifier found.
        seed: Decides among equal rates.
        forced: What the request's policy demands, if it does; it wins over everything else.
        fixed: A threshold by policy or option.
        share: The threshold that keeps a share of powerful requests, which wins over a fixed one.
    """
    if share is not None:
        threshold, powerful = share.rate, share.powerful(judged.rate, seed)
    else:
        threshold = EVEN if fixed is None else fixed
        powerful = judged.rate >= threshold
    if forced is not None:
        return forced, threshold
    if not judged.version:
        # An outage of the classifier must not multiply the bill, unless everything is to be powerful.
        return threshold <= 0, threshold
    if share is None and fixed is None and judged.powerful is not None:
        return judged.powerful, 0.0
    return powerful, threshold
