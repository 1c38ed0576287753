"""Bounds of a message's fields, checked before anything computes with them.

A wire format lets through whatever fits into its types: NaN, infinities, negative counts, names of megabytes. What a
service can take is written down as a table by field, and what lies outside of it is the caller's mistake, by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.chassis.errors import Invalid

__all__ = [
    "COUNT",
    "IDENT",
    "METADATA",
    "MOST_SEARCHES",
    "NAME",
    "NAMES",
    "REQUEST_CONTEXT",
    "Bounds",
    "Names",
    "Number",
    "Text",
    "Texts",
    "check",
]


@dataclass(frozen=True, slots=True)
class Number:
    """A number from `low` to `high`, and so neither NaN nor infinite."""

    low: float
    high: float

    def mistake(self, value: Any) -> str:
        """What was expected; empty when the value is that."""
        return "" if self.low <= value <= self.high else f"expected a number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most so many characters and at least so many, none of them NUL: PostgreSQL stores no such text."""

    longest: int
    shortest: int = 0

    def mistake(self, value: Any) -> str:
        """What was expected; empty when the value is that."""
        if self.shortest <= len(value) <= self.longest and "\0" not in value:
            return ""
        least = f"{self.shortest} to" if self.shortest else "at most"
        return f"expected {least} {self.longest} characters, and no NUL"


@dataclass(frozen=True, slots=True)
class Names:
    """A list of at most so many texts, each of at most so many characters."""

    most: int
    longest: int

    def mistake(self, value: Any) -> str:
        """What was expected; empty when the value is that."""
        if len(value) <= self.most and all(len(one) <= self.longest and "\0" not in one for one in value):
            return ""
        return f"expected at most {self.most} names of at most {self.longest} characters, and no NUL"


@dataclass(frozen=True, slots=True)
class Texts:
    """A mapping of names to texts, each of at most so many characters; without NULs, which PostgreSQL does not take."""

    most: int
    longest_name: int
    longest_text: int

    def mistake(self, value: Mapping[str, str]) -> str:
        """What was expected; empty when the value is that."""
        fits = len(value) <= self.most and all(
            len(name) <= self.longest_name and len(text) <= self.longest_text and "\0" not in name + text
            for name, text in value.items()
        )
        if fits:
            return ""
        return (
            f"expected at most {self.most} names of at most {self.longest_name} characters, each with a text of at "
            f"most {self.longest_text} and without NULs"
        )


# The bounds of fields by their names; those of a message in a message lie in a table of their own.
# A dict, which an abstract mapping would be told from everything else ten times as slowly.
Bounds: TypeAlias = "dict[str, Number | Text | Names | Texts | Bounds]"

# The longest name of anything, in characters.
NAME = Text(256)
# The id of something that is kept; nothing has an empty one.
IDENT = Text(128, shortest=1)
# What lists of names in policies hold: a plan's models, groups, providers and regions.
NAMES = Names(1024, NAME.longest)
# What fits into the contract's 64 bits and is no negative number.
COUNT = Number(0, 2**63 - 1)
# Searches of the web for one answer; the bound of their cost grows with the square of this.
MOST_SEARCHES = 1000
# A month of sound, in milliseconds: longer than any file that is taken.
MOST_AUDIO_MS = 31 * 86_400_000
# What a caller may note about a request; as much as OpenAI keeps of a response.
METADATA = Texts(17, 64, 512)
# Every request carries one, and its texts travel into spans, log lines and Redis.
REQUEST_CONTEXT: Bounds = {
    "request_id": NAME,
    "tenant": NAME,
    "key_id": NAME,
    "user_id": NAME,
    "organization_id": NAME,
    "plan": NAME,
    "traceparent": NAME,
    "deadline_unix_ms": COUNT,
    "admitted_unix_ms": COUNT,
    # With the version of a stored prompt, which the gateway notes.
    "metadata": Texts(18, 64, 512),
}


def check(message: Any, bounds: Bounds, path: str = "") -> None:
    """Compare the fields of a message with their bounds.

    Args:
        message: A message of the contract, or whatever else has such attributes.
        bounds: By the names of its fields.
        path: What stands before the names in a mistake, such as `policy.`.

    Raises:
        Invalid: naming the first field that lies outside, and what is expected there.
    """
    for name, bound in bounds.items():
        value = getattr(message, name)
        if isinstance(bound, dict):
            check(value, bound, f"{path}{name}.")
        elif expected := bound.mistake(value):
            raise Invalid(f"{path}{name}: {expected}", param=f"{path}{name}")
