"""When a deployment's circuit breaker counts as open, of which each executor replica has its own view."""

from collections.abc import Sequence


def is_open(views: Sequence[bool]) -> bool:
    """Whether it is open in more than half of the replicas' views."""
    return 2 * sum(views) > len(views)
