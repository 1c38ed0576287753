"""The fast engine: LiteLLM's own translations over one pooled client of ours.

It does what LiteLLM's entry points do with a request and an answer, and leaves out what they do around it. It serves
only the providers for which tests/executor/engines/test_engines.py proves, against the pinned LiteLLM, that both
engines send the same request and return the same answer.
"""

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any, Protocol, cast

import aiohttp
import httpx
import litellm
import orjson
from litellm.llms.anthropic.chat.handler import ModelResponseIterator as AnthropicEvents
from litellm.llms.anthropic.chat.transformation import ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY
from litellm.llms.base_llm.chat.transformation import BaseLLMException
from litellm.llms.vertex_ai.gemini.transformation import _transform_request_body as gemini_body
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (
    ModelResponseIterator as GeminiEvents,
)
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexLLM
from litellm.main import responses_api_bridge_check
from litellm.types.utils import LlmProviders, ModelResponse
from litellm.utils import ProviderConfigManager, get_optional_params

from services.chassis.deployments import Deployment
from services.executor.engines import sse
from services.executor.engines.base import Call, Operation, Piece
from services.executor.engines.litellm_sdk import (
    SWITCHES,
    General,
    address,
    configured,
    in_band,
    plain,
    said_by,
    split,
    untranslated,
)
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.provider_errors import clean, refusal
from services.executor.engines.proxies import Proxies
from services.executor.engines.transport import CONNECT_S
from services.executor.engines.usage import Usage

# Providers whose calls LiteLLM makes with OpenAI's own client.
OPENAI_CLIENT = frozenset(("openai", "custom_openai", "featherless_ai", "cerebras", "mistral"))
# Providers in OpenAI's format that LiteLLM calls itself.
OPENAI_LIKE = frozenset(("deepseek", "groq", "hosted_vllm", "openrouter", "together_ai", "fireworks_ai"))
# All that the differential test covers.
PROVEN = OPENAI_CLIENT | OPENAI_LIKE | {"anthropic", "gemini"}
# An idle connection is closed before most servers would, so that no request meets a dead one.
KEEP_ALIVE_S = 15.0
# More of a refusal is not read.
LONGEST_REFUSAL = 64 * 1024
# What is written to a connection without a pause, in bytes; aiohttp's own limit.
LONGEST_AT_ONCE = 2**20


class _Silent:
    """What LiteLLM's translations take for its logging: they tell it everything, and it keeps nothing."""

    def __init__(self, optional_params: Mapping[str, Any]) -> None:
        self.optional_params = optional_params
        self.model_call_details: dict[str, Any] = {}
        self.litellm_params: dict[str, Any] = {}

    def pre_call(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""

    def post_call(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""


@dataclass(slots=True)
class Upstream:
    """A request for a provider, and how to read its answer."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    whole: Callable[[bytes, Mapping[str, str]], Piece]
    event: Callable[[bytes], Iterator[Piece]]


class Translator(Protocol):
    """How to speak with one kind of provider."""

    def __call__(self, call: Call, base: str, extra: dict[str, Any], *, drop: bool) -> Upstream | None:
        """Translate a call; None when only LiteLLM's entry point knows how."""


class Fast:
    """LiteLLM's translations over a pooled client."""

    name = "fast"

    def __init__(self, proxies: Proxies, environ: Mapping[str, str], general: General) -> None:
        self._proxies = proxies
        self._environ = environ
        self._general = general
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            # Closed transports say so in the next round of the loop.
            await asyncio.sleep(0)

    def rehearse(self, deployments: Iterable[Deployment]) -> None:
        """Translate once for each deployment, so that the first real call need not wait for LiteLLM's imports."""
        body = {"messages": [{"role": "user", "content": "."}]}
        for deployment in deployments:
            if serves(deployment):
                # Whatever is wrong with it is told to the first caller, not to the operator's start.
                with suppress(Exception):
                    self._translate(Call(deployment, "none", Operation.CHAT, body, stream=True, timeout_s=5))

    def estimate(self, call: Call, said: str) -> Usage:
        """Count tokens as the general engine does."""
        return self._general.estimate(call, said)

    async def call(self, call: Call) -> AsyncGenerator[Piece]:
        """Call the provider."""
        call = await self._general.prepared(call)
        try:
            upstream = self._translate(call)
        except Exception as error:
            # LiteLLM's translations raise all sorts of things at what they cannot express.
            raise Failed(untranslated(error), said_by(error, call.key), called=False) from error
        if upstream is None:
            async with aclosing(self._general.call(call)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        begun = False
        try:
            async with self._client().post(
                upstream.url,
                data=_payload(upstream.body),
                headers=upstream.headers,
                proxy=self._proxies.of(call.deployment) or None,
                allow_redirects=False,
            ) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                if response.status >= 300:
                    body = await response.content.read(LONGEST_REFUSAL)
                    raise refusal(response.status, headers, body, call.key)
                if not call.stream:
                    body = await response.read()
                    yield _read(upstream, body, headers, call.key)
                    return
                async with aclosing(_pieces(response, upstream, call.key)) as pieces:
                    async for piece in pieces:
                        yield piece if begun else Piece(piece.data, piece.text, headers, piece.done)
                        begun = True
        except Failed:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _broken(error, begun=begun) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=2**17,
            )
        return self._session

    def _translate(self, call: Call) -> Upstream | None:
        """The request for the provider; None when only LiteLLM's entry point knows how to make it."""
        if call.operation is not Operation.CHAT:
            return _native(
                call, address(call.deployment, self._environ), configured(call.deployment, self._environ)
            )
        extra = configured(call.deployment, self._environ)
        drop = bool(extra.pop("drop_params", False))
        return _translator(call.deployment)(call, address(call.deployment, self._environ), extra, drop=drop)


def _payload(body: Any) -> bytes | BytesIO:
    """The text of a body; a long one in pieces, or everything else would wait until it is on its way."""
    text = orjson.dumps(body)
    return text if len(text) <= LONGEST_AT_ONCE else BytesIO(text)


def serves(deployment: Deployment) -> bool:
    """Whether this engine may serve a deployment; what it cannot do itself it leaves to the general one."""
    return deployment.provider in PROVEN and not _bridged(deployment)


def _bridged(deployment: Deployment) -> bool:
    """Whether LiteLLM always turns the chat into another API, which only its own entry point does."""
    return deployment.litellm_model.startswith(("responses/", "ft:"))


def _native(call: Call, base: str, extra: dict[str, Any]) -> Upstream | None:
    """An operation in the provider's own format needs no translation; None where it does."""
    path = _PATHS.get((call.deployment.provider, call.operation))
    if path is None:
        return None
    body = {name: value for name, value in call.body.items() if name not in SWITCHES or name in _NATIVE_NAMES}
    body["model"] = call.deployment.litellm_model
    if call.stream:
        body["stream"] = True
        if call.operation is Operation.COMPLETIONS:
            body["stream_options"] = {"include_usage": True}
    headers = {name.lower(): value for name, value in (extra.get("extra_headers") or {}).items()}
    if call.deployment.provider == "anthropic":
        base = (base or "https://api.anthropic.com").removesuffix("/v1/messages")
        headers = {"x-api-key": call.key or "none", "anthropic-version": "2023-06-01", **headers}
    else:
        base = base or _known_address(call.deployment)
        headers = {"authorization": f"Bearer {call.key or 'none'}", **headers}
    headers["content-type"] = "application/json"
    return Upstream(f"{base.rstrip('/')}{path}", headers, body, _openai_whole, _openai_event)


_PATHS = {
    ("anthropic", Operation.MESSAGES): "/v1/messages",
    ("openai", Operation.RESPONSES): "/responses",
    ("openai", Operation.COMPLETIONS): "/completions",
    ("openai", Operation.EMBEDDINGS): "/embeddings",
}
# Switches of LiteLLM's that are fields of these formats, too.
_NATIVE_NAMES = frozenset(("metadata",))


def _translator(deployment: Deployment) -> Translator:
    match deployment.provider:
        case "anthropic":
            return _anthropic
        case "gemini":
            return _gemini
        case _:
            return _openai


def _options(
    call: Call, extra: dict[str, Any], config: Any, *, drop: bool
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Messages, LiteLLM's optional parameters and the rest of the body."""
    arguments, rest = split(call)
    # The translations edit in place, and the body serves the next candidate too.
    messages = copy.deepcopy(arguments.pop("messages", []))
    messages = config.translate_developer_role_to_system_role(messages=messages)
    given = {**{name: value for name, value in extra.items() if name in _SAMPLING}, **arguments}
    if call.stream:
        given["stream"] = True
        given["stream_options"] = {"include_usage": True}
    if rest:
        given["extra_body"] = rest
    options = get_optional_params(
        model=call.deployment.litellm_model,
        custom_llm_provider=call.deployment.provider,
        messages=messages,
        drop_params=drop,
        max_retries=0,
        **given,
    )
    options.pop("max_retries", None)
    if not call.stream:
        options.pop("stream", None)
    return messages, options, options.pop("extra_body", None) or {}


_SAMPLING = frozenset(("temperature", "max_tokens", "top_p"))


def _config(deployment: Deployment) -> Any:
    return ProviderConfigManager.get_provider_chat_config(
        model=deployment.litellm_model, provider=LlmProviders(deployment.provider)
    )


def _needs_responses(call: Call, base: str) -> bool:
    """Whether LiteLLM would send this chat to OpenAI's responses instead: some models' tools work only there."""
    info, _ = responses_api_bridge_check(
        model=call.deployment.litellm_model,
        custom_llm_provider="openai",
        web_search_options=call.body.get("web_search_options"),
        tools=call.body.get("tools"),
        reasoning_effort=call.body.get("reasoning_effort"),
        api_base=base or None,
    )
    return bool(info.get("mode") == "responses")


@cache
def _known_address(deployment: Deployment) -> str:
    """The one address that LiteLLM knows for a provider; empty where its translation adds it."""
    _, _, _, base = litellm.get_llm_provider(f"{deployment.provider}/{deployment.litellm_model}")
    return base or ""


def _openai(call: Call, base: str, extra: dict[str, Any], *, drop: bool) -> Upstream | None:
    deployment = call.deployment
    config = _config(deployment)
    messages, options, rest = _options(call, extra, config, drop=drop)
    if deployment.provider == "openai" and _needs_responses(call, base):
        return None
    if "fake_stream" in options or "json_mode" in options:
        # The answer has to be turned inside out: a schema that was sent as a tool, a stream made of a whole.
        return None
    headers = {name.lower(): value for name, value in (extra.get("extra_headers") or {}).items()}
    base = base or _known_address(deployment)
    parameters: dict[str, Any] = {"api_base": base or None, "custom_llm_provider": deployment.provider}
    if deployment.provider in OPENAI_CLIENT:
        url = f"{base.rstrip('/')}/chat/completions"
        headers = {"authorization": f"Bearer {call.key or 'none'}", **headers}
        if organization := extra.get("organization"):
            headers["openai-organization"] = organization
    else:
        headers = config.validate_environment(
            api_key=call.key or "none",
            headers=headers,
            model=deployment.litellm_model,
            messages=messages,
            optional_params=options,
            api_base=base or None,
            litellm_params=parameters,
        )
        url = config.get_complete_url(
            api_base=base or None,
            api_key=call.key or "none",
            model=deployment.litellm_model,
            optional_params=options,
            stream=call.stream,
            litellm_params=parameters,
        )
    body = config.transform_request(
        model=deployment.litellm_model,
        messages=messages,
        optional_params=options,
        litellm_params=parameters,
        headers=headers,
    )
    body.update(rest)
    headers["content-type"] = "application/json"
    return Upstream(url, headers, body, _openai_whole, _openai_event)


def _openai_whole(body: bytes, headers: Mapping[str, str]) -> Piece:  # noqa: ARG001
    data = orjson.loads(body)
    if not isinstance(data, dict):
        raise TypeError("not an object")
    return Piece(data, body.decode())


def _openai_event(event: bytes) -> Iterator[Piece]:
    if event == b"[DONE]":
        yield Piece({}, done=True)
        return
    data = orjson.loads(event)
    if isinstance(data, dict):
        if not data.get("choices"):
            _check(data)
        yield Piece(data, event.decode())


def _anthropic(call: Call, base: str, extra: dict[str, Any], *, drop: bool) -> Upstream:
    deployment = call.deployment
    config = _config(deployment)
    messages, options, _ = _options(call, extra, config, drop=drop)
    options.pop("stream", None)
    options.pop("stream_options", None)
    json_mode = bool(options.pop("json_mode", False))
    parameters: dict[str, Any] = {}
    headers = config.validate_environment(
        api_key=call.key or "none",
        headers=dict(extra.get("extra_headers") or {}),
        model=deployment.litellm_model,
        messages=messages,
        optional_params={**options, "is_vertex_request": False},
        litellm_params=parameters,
        api_base=base or None,
    )
    body = config.transform_request(
        model=deployment.litellm_model,
        messages=messages,
        optional_params={**options, "is_vertex_request": False},
        litellm_params=parameters,
        headers=headers,
    )
    if call.stream:
        body["stream"] = True
    base = base or "https://api.anthropic.com"
    url = base if base.endswith("/v1/messages") else f"{base.rstrip('/')}/v1/messages"
    silent = _Silent(options)
    events = AnthropicEvents(
        streaming_response=iter(()),
        sync_stream=True,
        json_mode=json_mode,
        tool_name_reverse_map=parameters.get(ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY),
    )

    def whole(body_sent: bytes, headers_sent: Mapping[str, str]) -> Piece:
        answer = config.transform_response(
            model=deployment.litellm_model,
            raw_response=httpx.Response(200, headers=_undecoded(headers_sent), content=body_sent),
            model_response=ModelResponse(),
            logging_obj=silent,
            api_key=None,
            request_data=body,
            messages=messages,
            optional_params=options,
            litellm_params=parameters,
            encoding=None,
            json_mode=json_mode,
        )
        return Piece(plain(answer))

    return Upstream(url, headers, body, whole, _translated(events.chunk_parser))


def _gemini(call: Call, base: str, extra: dict[str, Any], *, drop: bool) -> Upstream:
    deployment = call.deployment
    config = _config(deployment)
    messages, options, _ = _options(call, extra, config, drop=drop)
    options.pop("stream", None)
    parameters: dict[str, Any] = {}
    auth, url = VertexLLM()._get_token_and_url(  # noqa: SLF001  (LiteLLM's only way to the address)
        model=deployment.litellm_model,
        gemini_api_key=call.key or "none",
        auth_header=None,
        vertex_project=None,
        vertex_location=None,
        vertex_credentials=None,
        stream=call.stream or None,
        custom_llm_provider="gemini",
        api_base=base or None,
    )
    headers = config.validate_environment(
        api_key=auth,
        headers=dict(extra.get("extra_headers") or {}),
        model=deployment.litellm_model,
        messages=messages,
        optional_params=options,
        litellm_params=parameters,
    )
    silent = _Silent(options)
    body: Any = gemini_body(
        messages=messages,
        model=deployment.litellm_model,
        optional_params=options,
        custom_llm_provider="gemini",
        litellm_params=parameters,
        cached_content=None,
    )
    events = GeminiEvents(streaming_response=None, sync_stream=True, logging_obj=cast("Any", silent))

    def whole(body_sent: bytes, headers_sent: Mapping[str, str]) -> Piece:
        answer = config.transform_response(
            model=deployment.litellm_model,
            raw_response=httpx.Response(200, headers=_undecoded(headers_sent), content=body_sent),
            model_response=ModelResponse(),
            logging_obj=silent,
            api_key="",
            request_data=body,
            messages=messages,
            optional_params=options,
            litellm_params=parameters,
            encoding=None,
        )
        return Piece(plain(answer))

    return Upstream(url, headers, body, whole, _translated(_given_finishes(events.chunk_parser)))


def _given_finishes(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Gemini's parser without the finish that LiteLLM makes up for every chunk."""

    def read(event: Any) -> Any:
        chunk = parse(event)
        given = {one.get("index", 0) for one in event.get("candidates") or () if one.get("finishReason")}
        for choice in chunk.choices if chunk is not None else ():
            if choice.index not in given:
                choice.finish_reason = None
        return chunk

    return read


def _translated(parse: Callable[[Any], Any]) -> Callable[[bytes], Iterator[Piece]]:
    """Read a provider's events with LiteLLM's parser, as chunks of chat completions."""
    head: dict[str, Any] = {}

    def read(event: bytes) -> Iterator[Piece]:
        data = orjson.loads(event)
        if isinstance(data, list):
            data = data[0] if data else {}
        _check(data)
        parsed = parse(data)
        if parsed is None:
            return
        chunk = plain(parsed)
        if not head:
            head.update(id=chunk.get("id"), created=chunk.get("created"), object="chat.completion.chunk")
            first = True
        else:
            first = False
        chunk.update(head)
        choices = chunk.get("choices") or []
        for choice in choices:
            delta = choice.setdefault("delta", {})
            delta.pop("role", None)
            if first:
                delta["role"] = "assistant"
        if first or chunk.get("usage") or any(_says(choice) for choice in choices):
            yield Piece(chunk)

    return read


def _says(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("finish_reason")) or any(value for value in choice["delta"].values())


def _check(data: Mapping[str, Any]) -> None:
    """An error in the place of a chunk is an error."""
    if data.get("error") and (failed := in_band(orjson.dumps(data), None)) is not None:
        raise failed


async def _pieces(
    response: aiohttp.ClientResponse, upstream: Upstream, key: str | None
) -> AsyncGenerator[Piece]:
    if "json" in response.content_type or "html" in response.content_type:
        # Not a stream at all: an error in disguise, if it can be read.
        body = await response.content.read(LONGEST_REFUSAL)
        raise in_band(body, key) or Failed(
            ErrorClass.MALFORMED, "a page came instead of a stream", 200, billed=True
        )
    async with aclosing(sse.events(response.content.iter_any())) as events:
        async for event in events:
            try:
                for piece in upstream.event(event):
                    yield piece
            except Failed:
                raise
            except BaseLLMException as error:
                raise Failed(
                    ErrorClass.SERVER_ERROR, clean(str(error.message), key), response.status, billed=True
                ) from error
            except Exception as error:
                raise Failed(
                    ErrorClass.MALFORMED,
                    f"a chunk could not be read: {type(error).__name__}",
                    response.status,
                    billed=True,
                ) from error


def _read(upstream: Upstream, body: bytes, headers: Mapping[str, str], key: str | None) -> Piece:
    try:
        piece = upstream.whole(body, headers)
    except Exception as error:
        # LiteLLM's and our own readers raise all sorts of things at a text that is no answer.
        raise in_band(body, key) or Failed(
            ErrorClass.MALFORMED,
            f"the provider's answer could not be read: {type(error).__name__}",
            200,
            headers=headers,
            billed=True,
        ) from error
    if piece.data.get("error") and (failed := in_band(body, key)) is not None:
        raise failed
    return Piece(piece.data, piece.text, headers)


def _undecoded(headers: Mapping[str, str]) -> dict[str, str]:
    # The body is decoded by now, so these two would lie.
    return {
        name: value for name, value in headers.items() if name not in ("content-encoding", "content-length")
    }


def _broken(error: Exception, *, begun: bool) -> Failed:
    what = type(error).__name__
    if isinstance(
        error,
        aiohttp.ClientConnectorError
        | aiohttp.ConnectionTimeoutError
        | aiohttp.ClientProxyConnectionError
        | aiohttp.ClientHttpProxyError
        | aiohttp.InvalidURL,
    ):
        return Failed(ErrorClass.CONNECTION, f"cannot connect: {what}")
    if begun:
        return Failed(ErrorClass.CUT, f"the connection broke: {what}", 200, billed=True)
    if isinstance(error, TimeoutError):
        return Failed(ErrorClass.TIMEOUT, f"no answer: {what}", billed=True)
    return Failed(ErrorClass.CONNECTION, f"the connection broke: {what}", billed=True)
