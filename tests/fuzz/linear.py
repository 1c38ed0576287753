"""Whether work grows with the length of what it reads, and not faster: every pattern and every parser of ours.

Operations are counted, not timed: the steps of a pattern (`regex_steps`), the lines that Python runs of a parser. So the
result is the same on every machine. What one call into C does is one line; `make fuzz` looks at the CPU time too.
"""

import functools
import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import services
from services.chassis.errors import Fault
from services.classifier.embedding import Embedder
from services.classifier.features import observe
from services.classifier.reading import Turn, read
from services.executor.capacity import quota_headers
from services.executor.engines import outcomes, provider_errors, sse
from services.executor.events import spool
from services.gateway.cache.semantic import same_question as semantic
from services.gateway.requests import chat_request
from services.selector.models.model_names import canonical
from tests.fuzz.regex_steps import CountedPattern

Work: TypeAlias = Callable[[str], object]
# How many operations the reading of a text takes.
Count: TypeAlias = Callable[[str], int]

# Modules that read nothing of callers and providers: what an operator trains, and the supervisor of one machine.
OWN = ("services.classifier.training", "services.local")
# The shortest text, in characters: long enough that a square's growth shows.
SHORT = 64
# More operations in a character's turn stop everything for long, even where they grow in proportion.
MOST_PER_CHARACTER = 300
# What twice as much text may take, over what it took before: twice where work grows in proportion, four times in a square.
REFUSED = 3.0

# What texts are repeated from: letters, digits and marks that the patterns name, and beginnings that never end.
UNITS = (
    *"a A 1 - _ . , : ; / + = ( < @ # \\ ' { \" é あ 一 \u0300 \u200b".split(),
    *(" ", "\t", "\n", " \n", "\r", "\x00"),
    *"A) </ <a a_ _a aA a- 1- -1 1. 1ms -v1 :1 :1k @a 12- ab-12 -20 -2024-01 sk- key'a ++ ,1 q4 -q4 data:".split(),
    *"us. us-gov. anthropic. meta-llama llama- -instruct -turbo os.environ/ SELECT FROM import return class".split(),
    *(
        "def a",
        "class a",
        "SELECT a",
        "Bearer ",
        "how ",
        "how many ",
        "what is the ",
        "statement ",
        "one ",
        "1 ",
    ),
    *(";\t", "a" * 2047 + "-", '{"a":', "[", '"\\u', "data: x\n", "\n\n"),
)
# What comes last, so that a pattern which must reach the end does not.
TAILS = ("", "!")


def repeated(unit: str, tail: str, size: int) -> str:
    """A text of about so many characters."""
    return unit * (size // len(unit) + 1) + tail


def patterns() -> dict[str, re.Pattern[str]]:
    """Every compiled pattern in the modules of the services, wherever in a module it stands, by its name."""
    found: dict[str, re.Pattern[str]] = {}
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.startswith(OWN) and not module.name.endswith(".__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                for path, pattern in _within(value, f"{module.name}.{name}"):
                    # A pattern that is imported elsewhere is the same one.
                    if pattern not in found.values():
                        found[path] = pattern
    return found


def _within(value: Any, path: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    if isinstance(value, re.Pattern):
        yield path, value
    elif isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from _within(item, f"{path}[{place}]")


def whole_text() -> frozenset[str]:
    """The names of the patterns that are compared with a whole text: those may go back where others need not."""
    sources = "".join(path.read_text("utf-8") for path in Path(services.__path__[0]).rglob("*.py"))
    return frozenset(re.findall(r"(\w+)\.fullmatch\(", sources))


def searching(pattern: CountedPattern, *, whole: bool = False) -> Count:
    """The steps of a pattern in the ways it is used; only some are compared with a `whole` text."""

    def steps(text: str) -> int:
        most = MOST_PER_CHARACTER * len(text) + 1
        found = pattern.search(text, most).steps
        return found + (pattern.search(text, most, whole=True).steps if whole else 0)

    return steps


def running(work: Work) -> Count:
    """The lines of Python that some work runs, in whatever module."""

    def lines(text: str) -> int:
        ran = 0

        def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal ran
            ran += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            work(text)
        finally:
            sys.settrace(before)
        return ran

    return lines


def _events(body: bytes) -> None:
    reader = sse.EventReader()
    with suppress(ValueError):
        for start in range(0, len(body), 64):
            list(reader.read(body[start : start + 64]))


def _chat(content: Callable[[str], Any]) -> Work:
    def work(text: str) -> None:
        with suppress(Fault):
            chat_request.parse(json.dumps(content(text)))

    return work


def _body(text: str) -> None:
    with suppress(Fault):
        chat_request.parse(text)


def _says(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def _lines(text: str) -> list[str]:
    return [text[start : start + 16] for start in range(0, len(text), 16)]


def parsers(folder: Path) -> dict[str, Work]:
    """Every loop of ours over what callers and providers send, by its name.

    Args:
        folder: Where files may be written.
    """
    embedder = Embedder()
    spooled = folder / "spooled"

    def read_spool(text: str) -> None:
        spooled.write_text(text)
        spool.read(spooled)

    def reset(text: str) -> None:
        quota_headers.headroom(
            {
                "x-ratelimit-limit-requests": "1",
                "x-ratelimit-remaining-requests": "1",
                "x-ratelimit-reset-requests": text,
            },
            0,
        )

    return {
        "gateway: a chat's one text": _chat(_says),
        "gateway: a chat's many parts": _chat(
            lambda text: _says([{"type": "text", "text": line} for line in _lines(text)])
        ),
        "gateway: a chat's many messages": _chat(
            lambda text: {"messages": [{"role": "user", "content": line} for line in _lines(text)[:4096]]}
        ),
        "gateway: a chat's tools": _chat(
            lambda text: {
                **_says("."),
                "tools": [{"type": "function", "function": {"name": line}} for line in _lines(text)],
            }
        ),
        "gateway: a chat's other fields": _chat(lambda text: {**_says("."), text: text}),
        "gateway: a body as it is": _body,
        "gateway: a question that may be compared": semantic.read,
        "classifier: a question": lambda text: observe(read([Turn("user", text)]), embedder),
        "classifier: a conversation": lambda text: observe(
            read([Turn("user", line) for line in _lines(text)]), embedder
        ),
        "selector: a model's name": canonical,
        "executor: an error's body": lambda text: provider_errors.from_response(
            500, {}, text.encode(), "sk-key"
        ),
        "executor: an error in JSON": lambda text: provider_errors.from_response(
            400, {}, json.dumps({"error": {"message": text, "code": text}}).encode(), "sk-key"
        ),
        "executor: an error as a stream": lambda text: provider_errors.from_body(
            f"data: {text}".encode(), None
        ),
        "executor: a header's wait": lambda text: provider_errors.from_response(
            429, {"retry-after": text[:HEADER], "retry-after-ms": text[:HEADER]}, b"", None
        ),
        "executor: a header's reset": reset,
        "executor: an error's words": lambda text: outcomes.classify(400, text),
        "executor: a stream of events": lambda text: _events(text.encode()),
        "executor: a line of the spool": read_spool,
    }


# A header's value is no longer than this: aiohttp's own limit, in bytes.
HEADER = 8190


def too_slow(count: Count, units: Iterable[str] = UNITS) -> str:
    """A text that takes hundreds of operations a character, or more with its length; empty where there is none."""
    return next(
        (f"{unit[:20]!r} and {tail!r}" for unit in units for tail in TAILS if _is_slow(count, unit, tail)), ""
    )


def unlike(pattern: CountedPattern) -> Collection[str]:
    """One unit of those that make the same texts for a pattern."""
    return {_period(pattern.kinds(unit)): unit for unit in reversed(UNITS)}.values()


def _period(kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shortest part that, repeated, is the whole."""
    whole = len(kinds)
    return next(
        kinds[:n] for n in range(1, whole + 1) if whole % n == 0 and kinds[:n] * (whole // n) == kinds
    )


def _is_slow(count: Count, unit: str, tail: str) -> bool:
    # While the unit is longer than the text, twice as much is the same text.
    count = functools.cache(count)
    size = SHORT
    before, now = (count(repeated(unit, tail, length)) for length in (size, 2 * size))
    added = now - before
    while True:
        text = repeated(unit, tail, 4 * size)
        before, now = now, count(text)
        if now > MOST_PER_CHARACTER * len(text):
            return True
        # What is the same for every text falls out of the differences; less than one a character is no growth.
        added, added_before = now - before, added
        if added <= 2 * size or added < REFUSED * added_before:
            return False
        size *= 2
