"""Whether work grows with the length of what it reads, and not faster: every pattern and every parser of ours.

Two runs of one process are compared, in CPU time of the thread, so that neither the machine's speed nor its other work
counts. Reading twice as much takes about twice as long; what is quadratic takes four times as long.
"""

import asyncio
import importlib
import json
import pkgutil
import re
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import services
from services.chassis.errors import Fault
from services.classifier.embedding import Embedder
from services.classifier.features import observe
from services.classifier.reading import Turn, read
from services.executor.capacity import rate_headers
from services.executor.engines import outcomes, provider_errors, sse
from services.executor.events import spool
from services.gateway.requests import chat_request
from services.selector.models.model_names import canonical

Work: TypeAlias = Callable[[str], object]

# Modules that read nothing of callers and providers: what an operator trains, and the supervisor of one machine.
OWN = ("services.classifier.training", "services.local")
# A text of so many characters is long enough to tell a square from a line; four times as long is compared with it.
SHORT = 2048
# Ratios of CPU times from which growth is looked at closely, for four times as much, and refused, for twice as much.
SUSPECT, REFUSED = 8.0, 3.5
# And how often as long as a plain loop over the characters it may take: a long run that is read anew from each of its
# characters is no square when it ends, and stops everything all the same.
MOST_LOOPS = 300
# A text is lengthened until it takes so long to read, or is so long that there is nothing to fear.
MEASURABLE_S, LONGEST = 0.005, 2**20

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


def searching(pattern: re.Pattern[str], *, whole: bool = False) -> Work:
    """The ways in which a pattern is used; only some are compared with a `whole` text."""

    def work(text: str) -> None:
        if whole:
            pattern.fullmatch(text)
        pattern.search(text)
        for _ in pattern.finditer(text):
            pass

    return work


async def _events(body: bytes) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 64):
            yield body[start : start + 64]

    with suppress(ValueError):
        async for _ in sse.events(parts()):
            pass


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
        rate_headers.headroom(
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
        "executor: a stream of events": lambda text: asyncio.run(_events(text.encode())),
        "executor: a line of the spool": read_spool,
    }


# A header's value is no longer than this: aiohttp's own limit, in bytes.
HEADER = 8190


def too_slow(work: Work) -> str:
    """A text whose reading grows faster than it does, or takes hundreds of loops; empty where all hold."""
    return next(
        (
            f"{unit[:20]!r} and {tail!r}"
            for unit in UNITS
            for tail in TAILS
            if _is_suspect(work, unit, tail)
            and (_loops(work, unit, tail) >= MOST_LOOPS or _growth(work, unit, tail) >= REFUSED)
        ),
        "",
    )


def _is_suspect(work: Work, unit: str, tail: str) -> bool:
    short, long = (repeated(unit, tail, size) for size in (SHORT, 4 * SHORT))
    taken = _seconds(work, long)
    return taken >= SUSPECT * _seconds(work, short) or taken >= MOST_LOOPS * _seconds(_plain_loop, long)


def _loops(work: Work, unit: str, tail: str) -> float:
    text = repeated(unit, tail, 4 * SHORT)
    return statistics.median(_seconds(work, text) / _seconds(_plain_loop, text) for _ in range(5))


def _plain_loop(text: str) -> None:
    for _ in text:
        pass


def _growth(work: Work, unit: str, tail: str) -> float:
    size = SHORT
    while _seconds(work, repeated(unit, tail, size)) < MEASURABLE_S:
        size *= 2
        if size >= LONGEST:
            return 1.0
    ratios = []
    for _ in range(5):
        shorter = _seconds(work, repeated(unit, tail, size))
        ratios.append(_seconds(work, repeated(unit, tail, 2 * size)) / shorter)
    return statistics.median(ratios)


def _seconds(work: Work, text: str) -> float:
    began = time.thread_time()
    work(text)
    return time.thread_time() - began
