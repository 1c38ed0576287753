"""Callers who ask at a steady rate and hold streams, and check every answer to the last chunk."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.chaos.cluster import CHUNKS, TOKENS

# Longer than a request may take at the gateway.
PATIENCE_S = 60
WORDS = "one two three four five six seven".split()


@dataclass(slots=True)
class Ended:
    """How one request ended.

    Args:
        model: What was asked.
        began: When, by the monotonic clock, in seconds.
        status: Of the answer; 0 is none.
        request_id: The gateway's id of it; empty if no head came.
        problem: What was wrong with the answer; empty if nothing was.
        retry_after: The answer's `retry-after`.
        took_s: Seconds to the end.
    """

    model: str
    began: float
    status: int = 0
    request_id: str = ""
    problem: str = ""
    retry_after: str = ""
    took_s: float = 0.0

    def shown(self) -> str:
        """What a report says of it."""
        return f"{self.model} {self.status} {self.problem} after {self.took_s:.2f} s, {self.request_id or 'no id'}"


@dataclass
class Traffic:
    """Requests under way, and how the others ended.

    Args:
        url: Of chat completions.
        keys: The callers', in turns.
    """

    url: str
    keys: list[str]
    ended: list[Ended] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def failed(self) -> list[Ended]:
        """Those whose answers were not what they should be."""
        return [one for one in self.ended if one.problem]

    def shown(self) -> str:
        """How many ended how."""
        counts = Counter((one.model, one.status or "none", bool(one.problem)) for one in self.ended)
        return ", ".join(
            f"{count} {model} {status}{' wrong' if wrong and status == 200 else ''}"
            for (model, status, wrong), count in sorted(counts.items(), key=str)
        )

    @asynccontextmanager
    async def flowing(self, rate: float, streams: int) -> AsyncIterator[None]:
        """Ask so many times a second, and hold so many streams, until the block ends; then wait for all answers."""
        stop = asyncio.Event()
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._ask(session, rate, stop, group))
            for i in range(streams):
                group.create_task(self._hold(session, stop, i / streams))
            try:
                yield
            finally:
                stop.set()

    async def _ask(
        self, session: aiohttp.ClientSession, rate: float, stop: asyncio.Event, group: asyncio.TaskGroup
    ) -> None:
        """Whatever becomes of earlier requests."""
        at = time.monotonic()
        while not stop.is_set():
            at += 1 / rate
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            number = next(self._numbers)
            group.create_task(self._request(session, number, "quick", streamed=number % 2 == 0))

    async def _hold(self, session: aiohttp.ClientSession, stop: asyncio.Event, share: float) -> None:
        """One stream after the other; they begin one after the other."""
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), share * CHUNKS * 0.1)
        while not stop.is_set():
            if not await self._request(session, next(self._numbers), "drips", streamed=True):
                # As a client does that is told to come back.
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 1)

    async def _request(
        self, session: aiohttp.ClientSession, number: int, model: str, *, streamed: bool
    ) -> bool:
        """Ask; whether the answer is as it should be."""
        words = [f"r{number}", *WORDS[: number % len(WORDS)]]
        tokens = CHUNKS if model == "drips" else TOKENS
        expected = "Echo" + "".join(
            f" {word}" for word in itertools.islice(itertools.cycle(words), tokens - 1)
        )
        body = {
            "model": model,
            "messages": [{"role": "user", "content": " ".join(words)}],
            "stream": streamed,
        }
        ended = Ended(model, time.monotonic())
        headers = {"authorization": f"Bearer {self.keys[number % len(self.keys)]}"}
        try:
            async with session.post(self.url, json=body, headers=headers) as answer:
                ended.status = answer.status
                ended.request_id = answer.headers.get("x-request-id", "")
                ended.retry_after = answer.headers.get("retry-after", "")
                text = await answer.read()
                if answer.status != 200:
                    ended.problem = text.decode(errors="replace")[:200]
                else:
                    ended.problem = _wrong(_of_stream(text) if streamed else _whole(text), expected)
        except (TimeoutError, aiohttp.ClientError) as error:
            ended.problem = f"{type(error).__name__}: {error}"
        ended.took_s = time.monotonic() - ended.began
        self.ended.append(ended)
        return not ended.problem


def _wrong(found: str, expected: str) -> str:
    return "" if found == expected else f"{len(found)} of {len(expected)} characters: ...{found[-80:]}"


def _whole(raw: bytes) -> str:
    text: str = orjson.loads(raw)["choices"][0]["message"]["content"]
    return text


def _of_stream(raw: bytes) -> str:
    """The text of a stream that ended as it should; else its last event."""
    events = [line.removeprefix(b"data: ") for line in raw.splitlines() if line.startswith(b"data: ")]
    if not events or events[-1] != b"[DONE]":
        return f"the stream ends with {events[-1].decode() if events else 'nothing'}"
    chunks: list[dict[str, Any]] = [orjson.loads(event) for event in events[:-1]]
    if wrong := [chunk for chunk in chunks if "error" in chunk]:
        return str(wrong[0]["error"])
    pieces = (choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))
    return "".join(pieces)
