"""How many steps a regular expression takes on a text: Python's engine has no counter, so this one goes its way.

It walks the tree that `re` parses a pattern to, and backtracks as `re` does: the leftmost start first, greedy repeats
from their longest run down. Which characters a set holds and where an anchor holds is asked of `re` itself. What `re`
does to be faster (it looks for a literal beginning first) divides the steps by a constant and changes no growth.
"""

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from re import _compiler as compiler  # type: ignore[attr-defined]
from re import _constants as op
from re import _parser as parser
from typing import Any, NamedTuple, TypeAlias

# What follows a node: told the place that the node ends at, it says whether the rest matches.
Then: TypeAlias = Callable[[int], bool]
Node: TypeAlias = Callable[[int, Then], bool]

SINGLE = (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY)
# Frames of the longest text: each character may be an iteration of a repeated group of a few nodes.
FRAMES = 1_000_000


class OverBudget(Exception):
    """The pattern has taken more steps than it may."""


class Search(NamedTuple):
    """What a search took, and where it found matches."""

    steps: int
    spans: list[tuple[int, int]]


@contextmanager
def _deep() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(FRAMES)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class CountedPattern:
    """A pattern whose searches are counted."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        """Parse it once, for many texts.

        Raises:
            NotImplementedError: the pattern has a construct that is not counted yet.
        """
        self._text = ""
        self._most = self._steps = 0
        # Whether a set of characters, by its number, holds one: the same in every text.
        self._held: dict[tuple[int, str], bool] = {}
        # Whether an anchor, by its number, holds at a place in the text.
        self._holds: dict[tuple[int, int], bool] = {}
        self._numbers = itertools.count()
        # What tells one character from another: the sets that it may be in.
        self._sets: list[re.Pattern[str]] = []
        self._matches = self._sequence(parser.parse(pattern.pattern, pattern.flags), pattern.flags)

    def kinds(self, text: str) -> tuple[tuple[bool, ...], ...]:
        """What the pattern can know of each character; texts of the same kinds take the same steps."""
        known = {one: tuple(held.match(one) is not None for held in self._sets) for one in set(text)}
        return tuple(known[character] for character in text)

    def search(self, text: str, most: int, *, whole: bool = False) -> Search:
        """Find every match, or with `whole` compare all of the text, and stop after `most` steps."""
        self._text, self._most, self._steps = text, most, 0
        self._holds.clear()
        spans: list[tuple[int, int]] = []
        with _deep(), suppress(OverBudget):
            if whole:
                spans += [(0, len(text))] * self._matches(0, lambda end: end == len(text))
            else:
                spans.extend(self._find_all())
        return Search(self._steps, spans)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > self._most:
            raise OverBudget

    def _find_all(self) -> Iterator[tuple[int, int]]:
        """From every start, and from the end of each match on."""
        start = 0
        while start <= len(self._text):
            self._step()
            end = _first_end(self._matches, start)
            if end is not None:
                yield start, end
            start = max(start + 1, end or 0)

    def _sequence(self, tree: Any, flags: int) -> Node:
        nodes = [self._node(code, argument, tree.state, flags) for code, argument in tree]
        if len(nodes) == 1:
            return nodes[0]

        def match(place: int, then: Then, number: int = 0) -> bool:
            if number == len(nodes):
                return then(place)
            return nodes[number](place, lambda end: match(end, then, number + 1))

        return match

    def _node(self, code: Any, argument: Any, state: Any, flags: int) -> Node:
        if code in SINGLE:
            holds = self._character(code, argument, state, flags)
            return lambda place, then: holds(place) and then(place + 1)
        if code is op.AT:
            return self._anchor(argument, state, flags)
        if code is op.MAX_REPEAT:
            least, most, body = argument
            if len(body) == 1 and body[0][0] in SINGLE:
                single, of = body[0]
                return self._run(self._character(single, of, body.state, flags), least, most)
            return self._greedy(self._sequence(body, flags), least, most)
        if code is op.POSSESSIVE_REPEAT:
            return _atomic(self._node(op.MAX_REPEAT, argument, state, flags))
        if code is op.BRANCH:
            branches = [self._sequence(branch, flags) for branch in argument[1]]
            return lambda place, then: any(branch(place, then) for branch in branches)
        if code is op.SUBPATTERN:
            _, added, removed, body = argument
            return self._sequence(body, flags & ~removed | added)
        if code in (op.ASSERT, op.ASSERT_NOT):
            return self._look(argument, flags, wanted=code is op.ASSERT)
        raise NotImplementedError(f"count the steps of {code} in tests/fuzz/regex_steps.py as well")

    def _character(self, code: Any, argument: Any, state: Any, flags: int) -> Callable[[int], bool]:
        """Whether one character is at a place, as `re` itself compares it."""
        alone = compiler.compile(parser.SubPattern(state, [(code, argument)]), flags)
        number = next(self._numbers)
        self._sets.append(alone)

        def holds(place: int) -> bool:
            self._step()
            if place >= len(self._text):
                return False
            asked = (number, self._text[place])
            held = self._held.get(asked)
            if held is None:
                held = self._held[asked] = alone.match(asked[1]) is not None
            return held

        return holds

    def _anchor(self, argument: Any, state: Any, flags: int) -> Node:
        """A place, as `re` itself finds it."""
        alone = compiler.compile(parser.SubPattern(state, [(op.AT, argument)]), flags)
        number = next(self._numbers)
        # All that an anchor looks at beside the place.
        self._sets += [re.compile(r"\w", flags & re.ASCII), re.compile(r"\n")]

        def match(place: int, then: Then) -> bool:
            self._step()
            holds = self._holds.get((number, place))
            if holds is None:
                holds = self._holds[number, place] = alone.match(self._text, place) is not None
            return holds and then(place)

        return match

    def _run(self, holds: Callable[[int], bool], least: int, most: int) -> Node:
        """A repeat of one character: `re` runs ahead in a loop and gives back one after the other."""

        def match(place: int, then: Then) -> bool:
            end = place
            while end - place < most and holds(end):
                end += 1
            for last in range(end, place + least - 1, -1):
                self._step()
                if then(last):
                    return True
            return False

        return match

    def _greedy(self, body: Node, least: int, most: int) -> Node:
        def match(place: int, then: Then, done: int = 0) -> bool:
            self._step()
            if done < most and body(place, lambda end: end > place and match(end, then, done + 1)):
                return True
            return done >= least and then(place)

        return match

    def _look(self, argument: tuple[int, Any], flags: int, *, wanted: bool) -> Node:
        direction, body = argument
        inner = self._sequence(body, flags)
        back = body.getwidth()[1] if direction < 0 else 0

        def match(place: int, then: Then) -> bool:
            holds = place >= back and _first_end(inner, place - back) is not None
            return holds is wanted and then(place)

        return match


def _atomic(inner: Node) -> Node:
    """Keeps its first match: what follows cannot make it give back."""

    def match(place: int, then: Then) -> bool:
        end = _first_end(inner, place)
        return end is not None and then(end)

    return match


def _first_end(matches: Node, start: int) -> int | None:
    """Where the first match from a start ends."""
    ends: list[int] = []

    def end(place: int) -> bool:
        ends.append(place)
        return True

    return ends[0] if matches(start, end) else None
