"""Values of protobuf enums as the words that people, JSON and tables read."""

from typing import Any

__all__ = ["word"]


def word(enum: Any, value: int) -> str | None:
    """An enum's value in lower case and without its prefix, such as `powerful`; None for unspecified."""
    if value == 0:
        return None
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    name: str = enum.Name(value)
    return name.removeprefix(prefix).lower()
