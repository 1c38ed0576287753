"""Send a plan the way a behaviour wants it, and count what was sent."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from tests.simulator.behaviour import Behaviour
from tests.simulator.counts import Counts, Entry, Outcome, Tokens
from tests.simulator.plan import EVENTS, HTML, JSON, Format, Headers, Part, Plan, Refusal
from tests.simulator.wire import Exchange

log = logging.getLogger(__name__)

SLICES = 8
_PAGE = b"<html><body><h1>Bad Gateway</h1></body></html>"
_BROKEN_EVENT = b'data: {"id": "broken", "choices": [{"index": 0, "delta": {"content": "unfin\n\n'
_DONE = b"data: [DONE]\n\n"
# Tasks are held here, for the event loop holds them weakly.
_running: set[asyncio.Task[None]] = set()


class Player:
    """Answers one request."""

    def __init__(
        self, exchange: Exchange, entry: Entry, counts: Counts, behaviour: Behaviour, prompt: int
    ) -> None:
        self._exchange = exchange
        self._entry = entry
        self._counts = counts
        self._behaviour = behaviour
        self._tokens = Tokens(prompt_tokens=prompt)
        self._sent = 0
        self._task: asyncio.Task[None] | None = None

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error, after the behaviour's pause."""
        if self._behaviour.body == "html":
            refusal = Refusal(refusal.status, _PAGE, (HTML, *refusal.headers[1:]))
        if self._behaviour.slow or self._behaviour.silence:
            self._start(partial(self._refuse_slowly, refusal))
        else:
            self._refuse(refusal)

    def answer(self, plan: Plan, provider: Format, *, stream: bool) -> None:
        """Answer well, or wrong in the way that the behaviour says."""
        how = self._behaviour
        self._tokens = plan.tokens
        if stream:
            plan = replace(plan, parts=_dressed(plan.parts, how))
        paused = how.slow or how.wait or how.drip or how.silence
        endings = (how.cut, how.end, how.stall, how.error)
        if not paused and not how.body and endings == (None,) * 4 and (not stream or how.burst):
            self._entry.status = 200
            self._sent = plan.tokens.completion_tokens
            self._finish(Outcome.ANSWERED)
            self._exchange.whole(
                200, _head(plan, EVENTS if stream else JSON), b"".join(part.data for part in plan.parts)
            )
        else:
            self._start(partial(self._play, plan, provider, stream=stream))

    def left(self) -> None:
        """The caller closed its socket."""
        self._finish(Outcome.ABANDONED)
        if self._task is not None:
            self._task.cancel()

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        self._exchange.left = self.left
        self._task = asyncio.get_running_loop().create_task(self._guarded(work))
        _running.add(self._task)
        self._task.add_done_callback(_running.discard)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            # A mistake in the simulator must end the test that met it, not hang it.
            log.exception("the simulator failed")
            self._exchange.close()
            raise

    async def _refuse_slowly(self, refusal: Refusal) -> None:
        if await self._silent():
            return
        self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        self._entry.status = refusal.status
        self._tokens = Tokens()
        self._finish(Outcome.REFUSED)
        self._exchange.whole(refusal.status, refusal.headers, refusal.body)

    async def _silent(self) -> bool:
        """Wait as long as the behaviour wants before the head; true when there will be none."""
        await _pause(self._behaviour.slow)
        match self._behaviour.silence:
            case "":
                return False
            case "hang":
                await asyncio.Event().wait()
            case "drop":
                self._finish(Outcome.BROKEN, Tokens())
                self._exchange.close()
            case "reset":
                self._finish(Outcome.BROKEN, Tokens())
                self._exchange.reset()
        return True

    async def _play(self, plan: Plan, provider: Format, *, stream: bool) -> None:
        if await self._silent():
            return
        self._entry.status = 200
        if self._behaviour.body:
            await self._wrong(plan, provider, stream=stream)
        elif stream:
            await self._send(EVENTS, plan.headers, plan.parts, provider)
        elif self._behaviour.error is not None:
            self._finish(Outcome.BROKEN, Tokens())
            self._exchange.whole(200, (JSON, *plan.headers), provider.error_body())
        else:
            kind, *headers = _head(plan, JSON)
            await self._send(kind, headers, _slices(plan.parts[0]), None)

    async def _wrong(self, plan: Plan, provider: Format, *, stream: bool) -> None:
        kind, data, tokens = (EVENTS if stream else JSON), b"", Tokens()
        match self._behaviour.body:
            case "html":
                kind, data = HTML, _PAGE
            case "done" if stream:
                data = _DONE
            case "firsterror":
                data = provider.error_event() if stream else provider.error_body()
            case "malformed" if stream:
                parts = [*plan.parts[:3], Part(_BROKEN_EVENT), *plan.parts[3:]]
                await self._send(kind, plan.headers, parts, provider, Outcome.BROKEN)
                return
            case "malformed":
                whole = plan.parts[0].data
                data, tokens = whole[: len(whole) // 2], plan.tokens
        self._finish(Outcome.BROKEN, tokens)
        self._exchange.whole(200, (kind, *plan.headers), data)

    async def _send(
        self,
        kind: tuple[str, str],
        headers: Headers,
        parts: Sequence[Part],
        provider: Format | None,
        outcome: Outcome = Outcome.ANSWERED,
    ) -> None:
        """Send the parts as chunks when they are a provider's events, else with their length."""
        how, exchange = self._behaviour, self._exchange
        exchange.head(200, (kind, *headers), None if provider else sum(len(part.data) for part in parts))
        await _pause(how.wait)
        for at, part in enumerate(parts):
            if at in (how.cut, how.end, how.stall, how.error):
                await self._end_at(at, provider)
                return
            self._sent += part.tokens
            if at == len(parts) - 1:
                self._finish(outcome)
                exchange.last(part.data)
            else:
                await exchange.piece(part.data)
                await _pause(how.drip)

    async def _end_at(self, at: int, provider: Format | None) -> None:
        how = self._behaviour
        if at == how.stall:
            await asyncio.Event().wait()
        self._finish(Outcome.BROKEN)
        if at == how.error and provider:
            self._exchange.last(provider.error_event())
        elif at == how.end and provider:
            self._exchange.last(b"")
        else:
            self._exchange.close()

    def _finish(self, outcome: Outcome, tokens: Tokens | None = None) -> None:
        whole = self._tokens
        if tokens is None:
            tokens = Tokens(
                prompt_tokens=whole.prompt_tokens,
                completion_tokens=self._sent,
                cached_tokens=whole.cached_tokens,
                cache_write_tokens=whole.cache_write_tokens,
                reasoning_tokens=min(whole.reasoning_tokens, self._sent),
            )
        self._counts.finish(self._entry, outcome, tokens)


def _head(plan: Plan, kind: tuple[str, str]) -> Headers:
    """The headers of an answer, the first of them its type: its own, or else `kind`."""
    own = [header for header in plan.headers if header[0] == "content-type"]
    return [*(own or [kind]), *(header for header in plan.headers if header[0] != "content-type")]


def _dressed(parts: Sequence[Part], how: Behaviour) -> Sequence[Part]:
    """The same events as another server might write them."""
    if how.spaced:
        parts = [replace(part, data=part.data.replace(b'":', b'": ')) for part in parts]
    if how.ping:
        parts = [replace(part, data=b": ping\n\n" + part.data) for part in parts]
    if how.crlf:
        parts = [replace(part, data=part.data.replace(b"\n", b"\r\n")) for part in parts]
    if how.split:
        halves = [(part, len(part.data) // 2) for part in parts]
        parts = [
            half
            for part, middle in halves
            for half in (Part(part.data[:middle]), Part(part.data[middle:], part.tokens))
        ]
    return parts


def _slices(part: Part) -> list[Part]:
    size = -(-len(part.data) // SLICES)
    cut = [part.data[at : at + size] for at in range(0, len(part.data), size)]
    return [*(Part(data) for data in cut[:-1]), Part(cut[-1], part.tokens)]


async def _pause(milliseconds: float) -> None:
    if milliseconds:
        await asyncio.sleep(milliseconds / 1000)
