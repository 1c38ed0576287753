"""Which deployments a request may be sent to one after the other: what a pinned name means, and its fallbacks."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from services.chassis.deployments import Fleet

__all__ = ["UNPINNED", "Names", "OnlyOn", "append", "fallbacks", "other_causes"]

# The names of a model that leave the choice to the selector.
UNPINNED = ("", "auto", "lumni/auto")

K = TypeVar("K", bound=Hashable)


class OnlyOn(StrEnum):
    """The failure after which a candidate may be tried."""

    # Whatever happened before, and first of all too.
    ANY = "any"
    # The context window of another was too small.
    CONTEXT = "context"
    # The content policy of another refused the request.
    POLICY = "policy"


class Names:
    """The names by which the deployments of a fleet can be pinned; deployments are meant by their place in it."""

    def __init__(self, fleet: Fleet) -> None:
        self.aliases = fleet.aliases
        self.groups = places(deployment.model for deployment in fleet.deployments)
        self._ids = places(deployment.id for deployment in fleet.deployments)
        self._paths = places(f"{one.provider}/{one.litellm_model}" for one in fleet.deployments)

    def group(self, model: str) -> list[int]:
        """The deployments of a model group or of an alias of one; empty where there is none."""
        return self.groups.get(self.aliases.get(model, model), [])

    def find(self, name: str) -> list[int]:
        """The deployments of a group or an alias, of an id, or of `provider/model`; empty where the name means none."""
        return self.group(name) or self._ids.get(name) or self._paths.get(name) or []


def places(names: Iterable[str]) -> dict[str, list[int]]:
    """Where each name stands in a sequence."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(name, []).append(place)
    return found


def fallbacks(fleet: Fleet, model: str, *, too_long: bool = False) -> Iterator[tuple[str, OnlyOn]]:
    """The models that may answer for a pinned one, in order: those that the configuration names, and no others.

    Args:
        fleet: The configuration.
        model: The group that is pinned.
        too_long: Whether the request is known to exceed its context window: then what is configured for
            that cause comes first, at once.
    """
    if too_long:
        for name in _named(fleet.context_window_fallbacks, model):
            yield name, OnlyOn.ANY
    for name in _named(fleet.fallbacks, model) or fleet.default_fallbacks:
        yield name, OnlyOn.ANY
    yield from other_causes(fleet, model)


def other_causes(fleet: Fleet, model: str) -> Iterator[tuple[str, OnlyOn]]:
    """The models that may answer for another where its context window or its content policy is the cause."""
    for name in _named(fleet.context_window_fallbacks, model):
        yield name, OnlyOn.CONTEXT
    for name in _named(fleet.content_policy_fallbacks, model):
        yield name, OnlyOn.POLICY


def append(listed: dict[K, OnlyOn], candidates: Iterable[K], only_on: OnlyOn) -> None:
    """List what is not listed yet; one that was kept for a cause moves to the end when any cause will do."""
    for candidate in candidates:
        if only_on is OnlyOn.ANY and listed.get(candidate) is not OnlyOn.ANY:
            listed.pop(candidate, None)
        listed.setdefault(candidate, only_on)


def _named(table: Mapping[str, tuple[str, ...]], model: str) -> tuple[str, ...]:
    return table.get(model, table.get("*", ()))
