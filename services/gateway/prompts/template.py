"""Mustache templates: checked when they are stored, rendered within bounds.

The library is mstache: it follows Mustache's specification, is released to this day, and hands out its result piece by
piece, so that a result can be stopped while it grows. Chevron (last released in 2021) looks names up as attributes of
Python objects; pystache reads partials from files unless told otherwise, and is stopped only from outside. Whatever a
template can reach goes through the functions below: names are keys of JSON objects, partials come from a mapping, and
there are no lambdas, as JSON has no functions. Nothing is escaped, for a prompt is no HTML.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import mstache
import orjson

from services.chassis.errors import Invalid

# Of one template, in bytes of UTF-8.
MOST_TEMPLATE = 64 * 1024
MOST_TAGS = 1000
# mstache copies what stands in a section for each section around it.
MOST_SECTIONS = 100
# An indented partial has the indent before each of its lines.
MOST_INDENT = 32
# How deep partials may stand in partials.
MOST_NESTED = 6
# Of all templates of a prompt together: bytes that they may become, and tags that rendering them may visit: some
# 20 ms on the event loop.
MOST_RENDERED = 4 * 1024 * 1024
MOST_VISITS = 20_000
# The name of a partial, with or without a version or label.
PARTIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}(@[a-z0-9][a-z0-9_-]{0,63})?")

_Token = tuple[bool, bool, bool, bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class Used:
    """What a template uses.

    Attributes:
        names: The variables that stand in no section, and so are never fields of something else.
        partials: The partials, by the names that the template gives.
        inside: The names that stand in sections, which may be variables or fields of something else.

    """

    names: frozenset[str]
    partials: frozenset[str]
    inside: frozenset[str] = frozenset()


def check(text: str, place: str) -> Used:
    """Refuse what is no template, or a larger one than is rendered.

    Args:
        text: The template.
        place: The field that it stands in.

    Raises:
        Invalid: what is wrong, and where.
    """
    template = text.encode("utf-8", "replace")
    if len(template) > MOST_TEMPLATE:
        raise Invalid(f"{place}: expected at most {MOST_TEMPLATE} bytes", param=place)
    if b"{{=" in template:
        raise Invalid(f"{place}: {{{{= =}}}} is not supported; write {{{{ and }}}}", param=place)
    if template.count(b"{{") > MOST_TAGS:
        raise Invalid(f"{place}: expected at most {MOST_TAGS} tags", param=place)
    if template.count(b"{{#") + template.count(b"{{^") > MOST_SECTIONS:
        raise Invalid(f"{place}: expected at most {MOST_SECTIONS} sections", param=place)
    try:
        tokens: Sequence[_Token] = mstache.tokenize(template, cache={})[1]
    except mstache.TokenException as error:
        raise Invalid(f"{place}: {error}", param=place) from error
    names: set[str] = set()
    inside: set[str] = set()
    partials: set[str] = set()
    depth = 0
    for a, b, c, key, content, _ in tokens:
        if (a, b, c) == (True, True, True):
            depth -= 1
            continue
        name = key.decode("utf-8", "replace")
        if (a, b, c) == (True, False, False):
            if not PARTIAL.fullmatch(name):
                raise Invalid(
                    f"{place}: the partial {name[:64]!r} is named by letters, digits and _ . -, with @ and a version "
                    "or label if one is meant",
                    param=place,
                )
            if len(content) > MOST_INDENT:
                raise Invalid(
                    f"{place}: expected at most {MOST_INDENT} spaces before {{{{> {name}}}}}", param=place
                )
            partials.add(name)
        elif (a, b, c) in ((False, True, False), (True, False, True)):
            if name != ".":
                (inside if depth else names).add(name.partition(".")[0])
            depth += (a, b, c) == (True, False, True)
    return Used(frozenset(names), frozenset(partials), frozenset(inside))


class Renderer:
    """Renders the templates of one prompt, which together stay within the bounds.

    Args:
        variables: JSON values by name.
        partials: Templates that were checked, by the names that templates give them.

    """

    def __init__(self, variables: Mapping[str, Any], partials: Mapping[str, str]) -> None:
        self._variables = variables
        self._partials = {name.encode(): text.encode("utf-8", "replace") for name, text in partials.items()}
        self._most_tags = max((text.count(b"{{") for text in self._partials.values()), default=0)
        self._bytes_left = MOST_RENDERED
        self._visits_left = MOST_VISITS

    def render(self, text: str) -> str:
        """What a checked template becomes.

        Raises:
            Invalid: it becomes too long, takes too long, or a partial stands in itself.
        """
        template = text.encode("utf-8", "replace")
        self._most_tags = max(self._most_tags, template.count(b"{{"))
        self._visit(1 + template.count(b"{{"))
        pieces: list[bytes] = []
        try:
            with closing(self._pieces(template)) as stream:
                for piece in stream:
                    self._bytes_left -= len(piece)
                    if self._bytes_left < 0:
                        raise Invalid(
                            f"variables: the prompt would become longer than {MOST_RENDERED} bytes",
                            param="variables",
                        )
                    pieces.append(piece)
        except RecursionError as error:
            raise Invalid(
                f"the prompt's partials stand in each other more than {MOST_NESTED} deep"
            ) from error
        return b"".join(pieces).decode("utf-8", "replace")

    def _pieces(self, template: bytes) -> Generator[bytes, None, None]:
        return mstache.stream(
            template,
            self._variables,
            resolver=self._partial,
            getter=self._value,
            stringify=_text,
            escape=bytes,
            cache={},
            recursion_limit=MOST_NESTED,
        )

    def _partial(self, name: mstache.Buffer) -> bytes:
        assert isinstance(name, bytes)
        found = self._partials.get(name, b"")
        self._visit(1 + found.count(b"{{"))
        return found

    def _value(self, scope: Any, scopes: Sequence[Any], name: mstache.Buffer, missing: Any) -> Any:
        """The value of a name: the key of the innermost object that has its first part; then keys of what that is."""
        assert isinstance(name, bytes)
        self._visit(1 + len(scopes))
        if name == b".":
            value = scope
        else:
            first, *further = name.decode("utf-8", "replace").split(".")
            holder = next(
                (one for one in (scope, *reversed(scopes)) if isinstance(one, Mapping) and first in one), None
            )
            if holder is None:
                return missing
            value = holder[first]
            for part in further:
                if not isinstance(value, Mapping) or part not in value:
                    return missing
                value = value[part]
        if isinstance(value, list):
            # A section over it goes through all tags that it may hold for each item.
            self._visit(len(value) * self._most_tags)
        return value

    def _visit(self, count: int) -> None:
        self._visits_left -= count
        if self._visits_left < 0:
            raise Invalid("variables: too many items for so many tags; send fewer", param="variables")


def _text(value: Any, _: bool) -> bytes:
    """A value in a prompt: a text as it is, nothing for null, all else as JSON."""
    if value is None:
        return b""
    return value.encode("utf-8", "replace") if isinstance(value, str) else orjson.dumps(value)
