"""What a request wishes of the response cache: the `cache` object of its body, as LiteLLM spells it, and headers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.chassis.errors import Invalid

# The longest time to keep an answer that a request may name, in seconds.
MAX_SECONDS = 30 * 86_400
_MAX_AGE = re.compile(r"max-age\s*=\s*\"?(\d{1,10})\"?")


@dataclass(frozen=True, slots=True)
class CacheControl:
    """Wishes.

    Attributes:
        no_cache: No earlier answer will do; the new one is kept.
        no_store: The answer is not kept.
        opted_in: An earlier answer will do although the request is not deterministic.
        ttl_s: For how many seconds the answer may be given again, at most; None leaves that to the plan.
        semantic: Whether the answer to a question that says the same will do; None leaves that to the plan.
        max_age_s: How old an earlier answer may be, in seconds; None is as old as there are.

    """

    no_cache: bool = False
    no_store: bool = False
    opted_in: bool = False
    ttl_s: int | None = None
    max_age_s: int | None = None
    semantic: bool | None = None


def parse(given: Any) -> CacheControl:
    """Read and validate the object; None is an empty one.

    Raises:
        Invalid: names the field and what is expected there.
    """
    if given is None:
        return CacheControl()
    if not isinstance(given, dict):
        raise Invalid("cache: expected an object", param="cache")
    for name, value in given.items():
        expected = _FIELDS.get(name)
        if expected is None:
            raise Invalid(
                f"cache.{name}: unknown; expected one of {', '.join(_FIELDS)}", param=f"cache.{name}"
            )
        fits, words = expected
        if not fits(value):
            raise Invalid(f"cache.{name}: expected {words}", param=f"cache.{name}")
    unused = given.get("use-cache") is False
    return CacheControl(
        no_cache=unused or given.get("no-cache", False),
        no_store=unused or given.get("no-store", False),
        opted_in=given.get("use-cache", False) or given.get("semantic", False) or "ttl" in given,
        ttl_s=given.get("ttl"),
        max_age_s=given.get("s-maxage"),
        semantic=given.get("semantic"),
    )


def with_headers(control: CacheControl, cache_control: str, force_refresh: str) -> CacheControl:
    """The wishes with those of the headers `cache-control` and Portkey's `x-portkey-cache-force-refresh`.

    HTTP's directives that say nothing here are skipped, as HTTP has it.

    Raises:
        Invalid: `max-age` is no number of seconds.
    """
    if force_refresh.lower() == "true":
        control = replace(control, no_cache=True)
    for word in filter(None, (part.strip().lower() for part in cache_control.split(","))):
        if word == "no-cache":
            control = replace(control, no_cache=True)
        elif word == "no-store":
            control = replace(control, no_store=True)
        elif word.startswith("max-age"):
            found = _MAX_AGE.fullmatch(word)
            if found is None:
                raise Invalid("cache-control: expected max-age=SECONDS, such as max-age=60")
            control = replace(control, max_age_s=int(found[1]))
    return control


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _seconds(low: int) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= MAX_SECONDS,
        f"whole seconds from {low} to {MAX_SECONDS}",
    )


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "no-cache": (_is_flag, "true or false"),
    "no-store": (_is_flag, "true or false"),
    "use-cache": (_is_flag, "true or false"),
    "semantic": (_is_flag, "true or false"),
    "ttl": _seconds(1),
    "s-maxage": _seconds(0),
}
