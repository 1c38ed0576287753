"""The rules of form that an answer can be held to: how many lines and words, how it begins, what it must not say."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.gateway.evaluation.texts import plain

# Ends of sentences, in Latin and other scripts, with the quotes and brackets that close after them.
_END = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\u061f\u0964]+[\"'\u201d\u2019\u00bb)\]*_]*(?=\s|$|[\u3040-\u9fff])"
)
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|dr|mr|mrs|ms|st|no|approx|[a-z])\.$", re.IGNORECASE)


def _ordered(bounds: tuple[int, int]) -> tuple[int, int]:
    if bounds[0] > bounds[1]:
        raise ValueError("expected [least, most]")
    return bounds


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Bounds = Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], AfterValidator(_ordered)]


class Rule(BaseModel):
    """One rule: exactly one of the fields is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: Annotated[int, Field(ge=0)] | None = None
    words: Bounds | None = None
    sentences: Bounds | None = None
    characters: Bounds | None = None
    contains: list[str] | None = None
    lacks: list[str] | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    each_line_matches: Annotated[str, AfterValidator(_compiles)] | None = None
    acrostic: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("a rule says exactly one thing")
        return self

    def broken(self, answer: str) -> str:
        """What the answer does not keep of the rule; empty where it keeps it."""
        text = answer.strip()
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        (name,) = self.model_fields_set
        given = getattr(self, name)
        match name:
            case "lines":
                return "" if len(lines) == given else f"{len(lines)} lines, expected {given}"
            case "words":
                return _between("words", len(words(text)), given)
            case "sentences":
                return _between("sentences", sentences(text), given)
            case "characters":
                return _between("characters", len(text), given)
            case "contains":
                missing = [one for one in given if plain(one) not in plain(text)]
                return f"lacks {', '.join(missing)}" if missing else ""
            case "lacks":
                present = [one for one in given if plain(one) in plain(text)]
                return f"contains {', '.join(present)}" if present else ""
            case "starts_with":
                return "" if text.startswith(given) else f"does not start with {given}"
            case "ends_with":
                return "" if text.endswith(given) else f"does not end with {given}"
            case "each_line_matches":
                other = [line for line in lines if re.search(given, line) is None]
                return f"a line does not match {given}" if other or not lines else ""
            case _:
                letters = "".join(line[0] for line in lines)
                return "" if letters.casefold() == given.casefold() else f"the first letters are {letters}"


def words(text: str) -> list[str]:
    """What stands between spaces and says something: a dash or a bullet is no word."""
    return [word for word in text.split() if any(c.isalnum() for c in word)]


def sentences(text: str) -> int:
    """How many sentences a text has; what follows the last end of one is one, too."""
    count, start = 0, 0
    for end in _END.finditer(text):
        said = text[start : end.end()]
        if _ABBREVIATION.search(said) and end.end() < len(text):
            continue
        if any(c.isalnum() for c in said):
            count += 1
        start = end.end()
    return count + any(c.isalnum() for c in text[start:])


def _between(name: str, count: int, bounds: tuple[int, int]) -> str:
    least, most = bounds
    return "" if least <= count <= most else f"{count} {name}, expected {least} to {most}"
