"""The engine over one pooled client of ours, with LiteLLM's own translations: `fast`.

It does what LiteLLM's entry points do with a request and an answer, and omits what they do around it. It serves
only the providers for which tests/executor/engines/test_engines.py proves, against the pinned LiteLLM, that both
engines send the same request and return the same answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from io import BytesIO
from types import SimpleNamespace
from typing import Any, TypeAlias

import aiohttp
import orjson
from litellm.llms.base_llm.chat.transformation import BaseLLMException

from services.chassis import offload
from services.chassis.deployments import Deployment
from services.chassis.operations import MODES, Operation
from services.executor.engines import (
    anthropic,
    gemini,
    native,
    openai,
    provider_errors,
    sse,
    token_count,
)
from services.executor.engines.base import Call, File, Phase, Piece, Progress
from services.executor.engines.connections import Connector
from services.executor.engines.litellm_errors import untranslated
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.prepare import Prepared, Preparer
from services.executor.engines.proxies import Proxies
from services.executor.engines.translation import Translate, Upstream
from services.executor.engines.transport import CONNECT_S
from services.executor.engines.usage import Usage

# How to translate a chat for each provider; all that the differential test covers.
TRANSLATIONS: Mapping[str, Translate] = {
    **dict.fromkeys(openai.OPENAI_CLIENT | openai.OPENAI_LIKE, openai.translate),
    "anthropic": anthropic.translate,
    "gemini": gemini.translate,
}
# An idle connection is closed before most servers would, so that no request meets a dead one.
KEEP_ALIVE_S = 15.0
# What aiohttp takes as the body of a request.
Payload: TypeAlias = bytes | BytesIO | aiohttp.FormData
# What is read of an error response, in bytes.
LONGEST_ERROR = 64 * 1024
# What is written to a connection without a pause, in bytes; aiohttp's own limit.
LONGEST_AT_ONCE = 2**20


class DirectEngine:
    """LiteLLM's translations over a pooled client."""

    name = "fast"

    def __init__(self, proxies: Proxies, preparer: Preparer, litellm_engine: LiteLLMEngine) -> None:
        self._proxies = proxies
        self._preparer = preparer
        self._litellm_engine = litellm_engine
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            # Closed transports report it in the next round of the loop.
            await asyncio.sleep(0)

    async def warm_up(self, deployment: Deployment) -> bool:
        """Translate calls of a deployment, so that the first real one need not wait for LiteLLM's imports.

        Returns:
            Whether this engine makes all calls that reach it for this deployment itself; else some are for LiteLLM's
            entry point. What the deployment does not speak reaches it as a chat (`bridges.calling`), and what it does
            speak beside chats, such as Anthropic's messages, needs no translation (`native`).

        """
        whole = True
        for operation, body in _trials(deployment):
            call = Call(deployment, "none", operation, body, stream=True, timeout_s=5)
            # Whatever is wrong with it fails the first call, not the start.
            with suppress(Exception):
                async with self._preparer.prepared(call) as prepared:
                    whole = _translate(prepared) is not None and whole
        return whole

    def estimate(self, call: Call, text: str) -> Usage:
        """Count tokens with the model's tokenizer."""
        return token_count.estimate(call, text)

    async def call(self, call: Call) -> AsyncGenerator[Piece]:
        """Call the provider; what only LiteLLM's entry point can translate goes there."""
        async with self._preparer.prepared(call) as prepared:
            try:
                upstream, payload = await offload.run(call.size, lambda: _written(prepared))
            except Exception as error:
                # LiteLLM's translations raise all sorts of things at what they cannot express.
                raise untranslated(error, call.key) from error
            if upstream is None:
                async with aclosing(self._litellm_engine.send(prepared)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            # Not in a generator of its own: each one on a chunk's way is entered and left for it.
            call, begun = prepared.call, False
            try:
                async with self._posted(call, upstream, payload) as response:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    if response.status >= 300:
                        body = await response.content.read(LONGEST_ERROR)
                        raise provider_errors.from_response(response.status, headers, body, call.key)
                    if not call.stream:
                        yield _read(upstream, await response.read(), headers, call.key)
                        return
                    await _check_stream(response, call.key)
                    events, ended = sse.EventReader(), False
                    while not ended:
                        part = await response.content.readany()
                        ended = not part
                        read = events.end() if ended else events.read(part)
                        for piece in _pieces(read, upstream, response.status, call.key):
                            yield piece if begun else Piece(piece.data, piece.text, headers, piece.done)
                            begun = True
            except Failed:
                raise
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise _broken(error, call.progress, begun=begun) from error

    def _posted(
        self, call: Call, upstream: Upstream, payload: Payload
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        call.progress.phase = Phase.CONNECTING
        return self._client().post(
            upstream.url,
            data=payload,
            headers=upstream.headers,
            proxy=self._proxies.of(call.deployment) or None,
            allow_redirects=False,
            trace_request_ctx=call.progress,
        )

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=2**17,
                trace_configs=[_noting_progress()],
            )
        return self._session


def serves(deployment: Deployment) -> bool:
    """Whether this engine may serve a deployment."""
    # LiteLLM always turns these chats into another API, which only its own entry point does.
    is_bridged = deployment.litellm_model.startswith(("responses/", "ft:"))
    return deployment.provider in TRANSLATIONS and not is_bridged


def _trials(deployment: Deployment) -> Iterator[tuple[Operation, Mapping[str, Any]]]:
    """Requests of each kind that decides by which way a deployment is called."""
    if deployment.mode not in MODES[Operation.CHAT]:
        yield from (
            (operation, {"input": "."}) for operation in Operation if deployment.mode in MODES[operation]
        )
        return
    chat = {"messages": [{"role": "user", "content": "."}]}
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    yield Operation.CHAT, chat
    yield Operation.CHAT, {**chat, "tools": tools}
    yield Operation.CHAT, {**chat, "tools": tools, "reasoning_effort": "low"}
    schema = {"name": "s", "schema": {"type": "object", "properties": {}}}
    yield Operation.CHAT, {**chat, "response_format": {"type": "json_schema", "json_schema": schema}}


def _translate(prepared: Prepared) -> Upstream | None:
    call = prepared.call
    translate = (
        TRANSLATIONS[call.deployment.provider] if call.operation is Operation.CHAT else native.translate
    )
    return translate(prepared)


def _written(prepared: Prepared) -> tuple[Upstream | None, Payload]:
    """A call as it is sent, and the text of its body; none where only LiteLLM's entry point can translate it."""
    upstream = _translate(prepared)
    return upstream, b"" if upstream is None else _payload(upstream)


def _payload(upstream: Upstream) -> Payload:
    """The text of a body; a long one in pieces, or everything else would wait until it is on its way."""
    if upstream.file is not None:
        return _form(upstream.body, upstream.file)
    text = orjson.dumps(upstream.body)
    return text if len(text) <= LONGEST_AT_ONCE else BytesIO(text)


def _form(fields: Mapping[str, Any], file: File) -> aiohttp.FormData:
    """Fields and a file, as OpenAI's clients send them: a list as a field for each of its items."""
    form = aiohttp.FormData()
    for name, value in fields.items():
        if isinstance(value, list):
            for one in value:
                form.add_field(f"{name}[]", _field(one))
        elif value is not None:
            form.add_field(name, _field(value))
    form.add_field("file", BytesIO(file.content), filename=file.name, content_type=file.content_type or None)
    return form


def _field(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


async def _check_stream(response: aiohttp.ClientResponse, key: str | None) -> None:
    """Fail where something else came than a stream: an error in disguise, if it can be read."""
    if response.content_type.startswith("audio/"):
        raise Failed(ErrorClass.MALFORMED, "sound came instead of a stream", 200, billed=True)
    if "json" in response.content_type or "html" in response.content_type:
        body = await response.content.read(LONGEST_ERROR)
        raise provider_errors.from_body(body, key) or Failed(
            ErrorClass.MALFORMED, "a page came instead of a stream", 200, billed=True
        )


def _pieces(
    events: Iterable[bytes], upstream: Upstream, status_code: int, key: str | None
) -> Iterator[Piece]:
    """The chunks of a stream's events."""
    try:
        for event in events:
            yield from upstream.event(event)
    except Failed:
        raise
    except BaseLLMException as error:
        message = provider_errors.redacted(str(error.message), key)
        raise Failed(ErrorClass.SERVER_ERROR, message, status_code, billed=True) from error
    except Exception as error:
        message = f"a chunk could not be read: {type(error).__name__}"
        raise Failed(ErrorClass.MALFORMED, message, status_code, billed=True) from error


def _read(upstream: Upstream, body: bytes, headers: Mapping[str, str], key: str | None) -> Piece:
    try:
        piece = upstream.whole(body, headers)
    except Exception as error:
        # LiteLLM's and our own readers raise all sorts of things at a text that is no answer.
        raise provider_errors.from_body(body, key) or Failed(
            ErrorClass.MALFORMED,
            f"the provider's answer could not be read: {type(error).__name__}",
            200,
            headers=headers,
            billed=True,
        ) from error
    if piece.data.get("error") and (failed := provider_errors.from_body(body, key)) is not None:
        raise failed
    piece.headers = headers
    return piece


def _noting_progress() -> aiohttp.TraceConfig:
    """Notes when a request is written: aiohttp holds its headers for the first piece of the body."""

    async def sending(
        session: aiohttp.ClientSession,  # noqa: ARG001  (aiohttp gives all three)
        context: SimpleNamespace,
        chunk: aiohttp.TraceRequestChunkSentParams,  # noqa: ARG001
    ) -> None:
        progress: Progress = context.trace_request_ctx
        progress.phase = Phase.SENT

    config = aiohttp.TraceConfig()
    config.on_request_chunk_sent.append(sending)
    return config


def _broken(error: Exception, progress: Progress, *, begun: bool) -> Failed:
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return provider_errors.unaddressable(error)
    return provider_errors.from_connection(
        error,
        connecting=not progress.sent,
        timed_out=isinstance(error, TimeoutError),
        begun=begun,
        status_code=200 if begun else 0,
    )
