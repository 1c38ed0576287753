"""Values of protobuf enums as the words that people, JSON and tables read."""

from typing import Any

__all__ = ["number", "word"]


def word(enum: Any, value: int) -> str | None:
    """An enum's value in lower case and without its prefix, such as `powerful`; None for unspecified."""
    if value == 0:
        return None
    name: str = enum.Name(value)
    return name.removeprefix(_prefix(enum)).lower()


def number(enum: Any, written: str | None) -> Any:
    """An enum's value by its word; 0 where there is none or it is not known (any more)."""
    return dict(enum.items()).get(f"{_prefix(enum)}{written.upper()}", 0) if written else 0


def _prefix(enum: Any) -> str:
    """What the names of an enum begin with, such as `TIER_`."""
    name: str = enum.Name(0)
    return name.removesuffix("UNSPECIFIED")
