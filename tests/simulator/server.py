"""Which request means what: the providers' routes, and the simulator's own under /sim."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs
from zlib import crc32

import orjson

from tests.simulator import anthropic, gemini, media, openai
from tests.simulator.behaviour import Behaviour, of_model, parse
from tests.simulator.counts import Counts, Entry
from tests.simulator.plan import JSON, Format
from tests.simulator.player import Player
from tests.simulator.request import NOTHING, Request
from tests.simulator.wire import Connection, Exchange

# A path's end decides, so that any base address works: /v1, /openai/v1, /api/v1, none.
_FORMATS: tuple[tuple[str, Format], ...] = (
    ("/chat/completions", openai.Chat()),
    ("/completions", openai.Completions()),
    ("/embeddings", openai.Embeddings()),
    ("/moderations", openai.Moderations()),
    ("/images/generations", media.Images()),
    ("/audio/speech", media.Speech()),
    ("/audio/transcriptions", media.Transcriptions()),
    ("/responses", openai.Responses()),
    ("/messages", anthropic.Messages()),
    ("/messages/count_tokens", anthropic.CountTokens()),
    (":generateContent", gemini.Generate()),
    (":streamGenerateContent", gemini.Generate()),
    (":embedContent", gemini.Embed()),
    (":batchEmbedContents", gemini.Embed()),
)


class Server:
    """Answers requests and remembers them."""

    def __init__(self, keep: int) -> None:
        self._counts = Counts(keep)
        self._queues: dict[str, deque[str]] = {}
        self._standing: dict[str, str] = {}

    def handle(self, exchange: Exchange) -> None:
        """Answer one request, now or in a task of its own."""
        if exchange.path.startswith("/sim/"):
            self._control(exchange)
        elif exchange.method == "GET" and exchange.path.endswith("/models"):
            exchange.whole(200, (JSON,), openai.models())
        else:
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        entry = Entry(0, "", exchange.method, exchange.path, exchange.headers, exchange.body, "")
        self._counts.begin(entry)
        provider = _format(exchange) if exchange.method == "POST" else None
        try:
            if provider is None:
                raise LookupError(f"{exchange.method} {exchange.path} is not a route of the simulator")
            body = _body(exchange)
            if exchange.headers.get("content-type", "").startswith("multipart/"):
                # As such a body can be shown.
                entry.body = orjson.dumps(body)
            digest = f"{crc32(exchange.body):08x}"
            request = provider.read(Request(body, exchange.path, digest))
        except LookupError as error:
            missing = isinstance(error, KeyError)
            self._refuse_plainly(
                exchange, entry, provider, 400 if missing else 404, f"missing or unknown: {error}"
            )
            return
        except (TypeError, ValueError, AttributeError) as error:
            self._refuse_plainly(exchange, entry, provider, 400, f"the request is not understood: {error}")
            return
        entry.model = request.model
        seen = self._counts.seen(request.model)
        behaviour = self._behaviour(exchange, entry, request.model).at(seen)
        player = Player(exchange, entry, self._counts, behaviour, request.prompt_tokens)
        headers = [("x-request-id", f"sim-{entry.number}")]
        if behaviour.limit is not None:
            remaining = behaviour.limit - seen - 1
            headers += provider.limits(behaviour.limit, max(0, remaining))
            if remaining < 0:
                refusal = provider.refusal(
                    429, "", 1 if behaviour.retry is None else behaviour.retry, request
                )
                player.refuse(refusal.adding(headers))
                return
        too_long = behaviour.window is not None and request.prompt_tokens > behaviour.window
        if too_long or behaviour.status or behaviour.kind:
            kind = "context" if too_long else behaviour.kind
            player.refuse(provider.refusal(behaviour.status, kind, behaviour.retry, request).adding(headers))
            return
        try:
            plan = (provider.stream if request.stream else provider.whole)(request, behaviour)
        except (TypeError, ValueError, AttributeError) as error:
            # A schema that is none, say.
            player.refuse(provider.refusal(400, f"the request is not understood: {error}", None, request))
            return
        player.answer(plan.adding(headers), provider, stream=request.stream)

    def _refuse_plainly(
        self, exchange: Exchange, entry: Entry, provider: Format | None, status: int, said: str
    ) -> None:
        refusal = (provider or openai.Chat()).refusal(status, said, None, NOTHING)
        Player(exchange, entry, self._counts, Behaviour(), 0).refuse(refusal)

    def _behaviour(self, exchange: Exchange, entry: Entry, model: str) -> Behaviour:
        for name in (model, "*"):
            if queue := self._queues.get(name):
                entry.behaviour = queue.popleft()
                return parse(entry.behaviour)
            if name in self._standing:
                entry.behaviour = self._standing[name]
                return parse(entry.behaviour)
        entry.behaviour = exchange.headers.get("x-sim", "")
        return parse(entry.behaviour) if entry.behaviour else of_model(model)

    def _control(self, exchange: Exchange) -> None:
        status, answer = 200, b"{}"
        match exchange.method, exchange.path:
            case "GET", "/sim/counts":
                answer = orjson.dumps(self._counts.shown())
            case "GET", "/sim/requests":
                last = parse_qs(exchange.query).get("last", ["100"])[0]
                answer = orjson.dumps(self._counts.last(int(last)))
            case "POST", "/sim/script":
                self._script(orjson.loads(exchange.body))
            case "POST", "/sim/reset":
                self._counts.reset()
                self._queues.clear()
                self._standing.clear()
            case _:
                status, answer = 404, b'{"error": "no such control"}'
        exchange.whole(status, (JSON,), answer)

    def _script(self, script: dict[str, Any]) -> None:
        """Behaviours of a model (`*`: of any): `queue`, one for each request; then `standing`, until changed."""
        model = script["model"]
        if "queue" in script:
            self._queues[model] = deque(script["queue"])
        if script.get("standing"):
            self._standing[model] = script["standing"]
        elif "standing" in script:
            self._standing.pop(model, None)


def _body(exchange: Exchange) -> dict[str, Any]:
    """The fields of a request: JSON, or a form."""
    content_type = exchange.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        return media.form(exchange.body, content_type)
    body: dict[str, Any] = orjson.loads(exchange.body)
    return body


def _format(exchange: Exchange) -> Format | None:
    path = exchange.path
    return next((provider for end, provider in _FORMATS if path.endswith(end)), None)


@asynccontextmanager
async def listening(host: str = "127.0.0.1", port: int = 0, keep: int = 1000) -> AsyncIterator[str]:
    """Serve until the block ends; gives the base address, without /v1."""
    server, connections = Server(keep), set[Connection]()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        partial(Connection, server.handle, connections), host, port, backlog=1024
    )
    try:
        yield f"http://{host}:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for connection in list(connections):
            connection.transport.abort()
        while connections:
            await asyncio.sleep(0)
        await listener.wait_closed()
