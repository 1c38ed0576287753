"""What a check reads out of an answer: its numbers, its last line, its code, its JSON; and texts made comparable."""

import ast
import json
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

_FENCE = "```"
_LANGUAGE = re.compile(r"[\w+-]*")
# A sign belongs to the number unless something stands right before it, as in 10-12; digits of a name are no number.
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![\w)])[-\u2212\u2013+][$€£¥₹]?)?"
    r"(?:\d{1,3}(?:(?:\{,\}|[,\u00a0\u2009\u202f'\u2019])\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
    r"|(?<![\w.])[-\u2212\u2013+]?\.\d+"
)
_SEPARATORS = str.maketrans("\u2212\u2013", "--", "{},\u00a0\u2009\u202f'\u2019$€£¥₹")
_ANSWER = re.compile(r"^(?:the )?(?:final )?answer(?: is)? ")
# A point within a number and a sign before one are part of it.
_PUNCTUATION = re.compile(r"(?<!\d)[.,:/]|[.,:/](?!\d)|[-\u2212+](?!\d)|[^\w\s.,:/+\u2212-]|_")
_PYTHON = ("python", "py", "python3")


def plain(text: str) -> str:
    """A text without case and accents, with single spaces."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())


def holds(text: str, words: str) -> bool:
    """Whether a plain text holds some plain words, as whole words where the script has spaces between words."""
    if not words:
        return False
    before = r"(?<!\w)" if _is_cased(words[0]) else ""
    after = r"(?!\w)" if _is_cased(words[-1]) else ""
    return re.search(before + re.escape(words) + after, text) is not None


def last_number(text: str) -> float | None:
    """The last number of a text, thousands separators and units ignored."""
    found = _NUMBER.findall(text)
    return float(found[-1].translate(_SEPARATORS)) if found else None


def last_line(text: str) -> str:
    """The last line that says something, as `line` makes it comparable."""
    lines = [said for one in text.splitlines() if (said := line(one))]
    return lines[-1] if lines else ""


def line(text: str) -> str:
    """A line without punctuation, case and accents, and without an "Answer:" before it."""
    return _ANSWER.sub("", " ".join(_PUNCTUATION.sub(" ", plain(text)).split()) + " ").strip()


def code(text: str) -> str:
    """The Python of an answer: its code blocks, else all of it.

    Of several blocks all that are Python are taken, in their order: later ones use or better earlier ones.
    """
    blocks = list(_fenced(text))
    named = [block for language, block in blocks if language in _PYTHON]
    chosen = named or [block for language, block in blocks if not language]
    if not chosen:
        return text
    return "\n".join(block for block in chosen if _is_python(block)) or chosen[0]


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    """The blocks of a text that stand between fences, each with its language in lower case."""
    language: str | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        bare = line.strip(" \t")
        if not bare.startswith(_FENCE):
            lines.append(line)
        elif language is None:
            named = _LANGUAGE.match(bare.removeprefix(_FENCE).lstrip(" \t"))
            language, lines = named[0].lower() if named else "", []
        else:
            yield language, "".join(f"{one}\n" for one in lines)
            language = None


def json_value(text: str) -> Any:
    """The one JSON value of an answer: all of it, its only code block, or the only object or list in its prose.

    Raises:
        ValueError: there is none, or there are several.
    """
    fenced = [block for _, block in _fenced(text)]
    for whole in (text, *(fenced if len(fenced) == 1 else ())):
        try:
            return _decoder.decode(whole.strip())
        except ValueError:
            continue
    values = []
    place = 0
    while (start := _opening(text, place)) >= 0:
        try:
            value, place = _decoder.raw_decode(text, start)
            values.append(value)
        except ValueError:
            place = start + 1
    if len(values) != 1:
        raise ValueError(f"{len(values)} JSON values in the answer, expected one")
    return values[0]


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: numbers by value, objects in any order, true not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or _close(one, other)
    return type(one) is type(other) and one == other


def _close(one: float, other: float) -> bool:
    """Whether two numbers differ by no more than a binary fraction does; nothing is close to what no float can hold."""
    try:
        one, other = float(one), float(other)
    except OverflowError:
        return False
    within = 1e-9 * max(1.0, abs(one), abs(other))
    return math.isfinite(one) and math.isfinite(other) and abs(one - other) <= within


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refused)


def _opening(text: str, start: int) -> int:
    """Where the next object or list may begin; -1 for nowhere."""
    places = [place for bracket in "{[" if (place := text.find(bracket, start)) >= 0]
    return min(places, default=-1)


def _is_cased(character: str) -> bool:
    """Whether words of its script stand apart; letters without case, such as Chinese ones, may not."""
    return unicodedata.category(character) != "Lo" and (character.isalnum() or character == "_")


def _is_python(block: str) -> bool:
    try:
        ast.parse(block)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
