"""The `lumni` object of a request: what the caller wishes of the decision."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.chassis.errors import Invalid
from services.chassis.strategies import STRATEGIES

TASK_TYPES = ("fast", "powerful", "auto")
# Names travel into decisions, logs and memory, so they are short and printable.
NAME = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
MAX_NAMES = 64
MAX_COST_USD = 1_000_000
MAX_WEIGHT = 1_000_000
# The year 2286.
MAX_UNIX_S = 10**10


@dataclass(frozen=True, slots=True)
class Hints:
    """Wishes; weights, plan and at are what-if questions that only /v1/route reads."""

    task_type: str = "auto"
    strategy: str = ""
    provider: str = ""
    denied_providers: Sequence[str] = ()
    denied_regions: Sequence[str] = ()
    max_cost_usd: float = 0
    # The strong win rate from which this request is for a powerful model; None leaves that to the plan.
    threshold: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    plan: str = ""
    at: float = 0
    # What an experiment or a mirror sets, and no request: the share of requests that may go to powerful models, and the
    # groups of models in place of the plan's.
    powerful_share: float | None = None
    access_groups: Sequence[str] = ()
    # Whether the operator's system prompts are added.
    system_prompts: bool = True


def parse(own: Any) -> Hints:
    """Read and validate the object; None is an empty one.

    Raises:
        Invalid: names the field and what is expected there.
    """
    if own is None:
        return Hints()
    if not isinstance(own, dict):
        raise Invalid("lumni: expected an object", param="lumni")
    for name, value in own.items():
        expected = HINTS.get(name)
        if expected is None:
            raise Invalid(f"lumni.{name}: unknown; expected one of {', '.join(HINTS)}", param=f"lumni.{name}")
        fits, words = expected
        if not fits(value):
            raise Invalid(f"lumni.{name}: expected {words}", param=f"lumni.{name}")
    return Hints(**own)


def _number_to(high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= high


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_NAMES and all(_is_name(item) for item in value)


def _is_weights(value: Any) -> bool:
    fits = _number_to(MAX_WEIGHT)
    return (
        isinstance(value, dict)
        and len(value) <= MAX_NAMES
        and all(_is_name(name) and fits(weight) for name, weight in value.items())
    )


def _one_of(words: Collection[str]) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in words, f"one of {', '.join(words)}"


HINTS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "task_type": _one_of(TASK_TYPES),
    "strategy": _one_of(STRATEGIES),
    "provider": (_is_name, "a short text"),
    "denied_providers": (_is_names, f"a list of at most {MAX_NAMES} short texts"),
    "denied_regions": (_is_names, f"a list of at most {MAX_NAMES} short texts"),
    "max_cost_usd": (_number_to(MAX_COST_USD), f"a number from 0 to {MAX_COST_USD}"),
    "threshold": (_number_to(1), "a number from 0 to 1"),
    "weights": (_is_weights, f"an object of numbers from 0 to {MAX_WEIGHT}"),
    "plan": (_is_name, "a short text"),
    "system_prompts": (lambda value: isinstance(value, bool), "true or false"),
    "at": (_number_to(MAX_UNIX_S), "seconds since 1970"),
}
