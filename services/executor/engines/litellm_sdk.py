"""The general engine: every provider that LiteLLM knows, by way of its own entry points.

LiteLLM translates and nothing else: its retries, fallbacks, caches, callbacks, cost tracking and telemetry are off.
"""

import logging
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from types import ModuleType
from typing import Any, cast

import httpx
import litellm
import openai
import orjson
from litellm.anthropic_interface import messages as anthropic_messages
from litellm.caching.llm_caching_handler import LLMClientCache
from litellm.exceptions import BadRequestError, Timeout, UnsupportedParamsError
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (
    ModelResponseIterator as GeminiEvents,
)
from litellm.types.utils import all_litellm_params

from services.chassis.deployments import Deployment, reference
from services.executor.engines.base import Call, Operation, Piece
from services.executor.engines.images import FETCHED_HERE, Images
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.provider_errors import clean, refusal, told
from services.executor.engines.proxies import Proxies
from services.executor.engines.transport import CONNECT_S, Transport, Wire, wire
from services.executor.engines.usage import Usage

VERSION = litellm._version.version  # noqa: SLF001  (its only name)

# What a picture is taken for where nobody says: OpenAI's for one of 1024 x 1024 in high detail.
PICTURE_TOKENS = 765
# What is counted of a text, in characters: a few milliseconds' work.
COUNTED_CHARS = 50_000

# What OpenAI documents and LiteLLM takes as an argument; everything else travels in extra_body.
ARGUMENTS: Mapping[Operation, frozenset[str]] = {
    Operation.CHAT: frozenset(
        (
            "messages",
            "functions",
            "function_call",
            "temperature",
            "top_p",
            "n",
            "stop",
            "max_tokens",
            "max_completion_tokens",
            "modalities",
            "prediction",
            "audio",
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
            "user",
            "response_format",
            "seed",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "logprobs",
            "top_logprobs",
            "reasoning_effort",
            "verbosity",
            "safety_identifier",
            "service_tier",
            "store",
            "prompt_cache_key",
            "thinking",
            "web_search_options",
        )
    ),
    Operation.COMPLETIONS: frozenset(
        (
            "prompt",
            "best_of",
            "echo",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "n",
            "presence_penalty",
            "seed",
            "stop",
            "suffix",
            "temperature",
            "top_p",
            "user",
        )
    ),
    Operation.EMBEDDINGS: frozenset(("input", "dimensions", "encoding_format", "user")),
    Operation.RESPONSES: frozenset(
        (
            "input",
            "include",
            "instructions",
            "max_output_tokens",
            "parallel_tool_calls",
            "reasoning",
            "store",
            "temperature",
            "text",
            "tool_choice",
            "tools",
            "top_p",
            "truncation",
            "user",
        )
    ),
    Operation.MESSAGES: frozenset(
        (
            "messages",
            "max_tokens",
            "stop_sequences",
            "system",
            "temperature",
            "thinking",
            "tool_choice",
            "tools",
            "top_k",
            "top_p",
        )
    ),
}
# Formats of their own, whose providers refuse what they do not know: what they know beyond OpenAI's fields.
NATIVE: Mapping[str, frozenset[str]] = {
    "anthropic": frozenset(("top_k", "cache_control", "container", "context_management", "output_config")),
    "gemini": frozenset(("top_k", "safety_settings")),
}
# What a provider that routes to others would do at our expense: other models, hosts and tools than the admitted.
ROUTING: Mapping[str, frozenset[str]] = {
    "openrouter": frozenset(("models", "route", "provider", "plugins", "preset", "transforms")),
}
# LiteLLM's own switches: never a provider's business, so never let through from a caller.
SWITCHES = frozenset(all_litellm_params) - {"metadata", "tags", "user"} | {
    "api_base",
    "api_key",
    "api_version",
    "base_url",
    "client",
    "custom_llm_provider",
    "deployment_id",
    "drop_params",
    "extra_body",
    "extra_headers",
    "extra_query",
    "fallbacks",
    "headers",
    "mock_response",
    "mock_tool_calls",
    "model",
    "model_list",
    "organization",
    "stream",
    "stream_options",
    "timeout",
}
# Where a provider's address depends on the environment when nobody names one.
_ADDRESSES = {"openai": "https://api.openai.com/v1"}


class _OurClients(LLMClientCache):
    """Gives LiteLLM our connections wherever it looks for its own, which it would close while they are in use."""

    def __init__(self, handler: AsyncHTTPHandler) -> None:
        super().__init__()
        self._handler = handler

    def get_cache(self, key: str, **kwargs: Any) -> Any:
        if key.startswith("async_httpx_client"):
            return self._handler
        return super().get_cache(key, **kwargs)  # type: ignore[no-untyped-call]


class _NoToolGateway:
    """In the place of LiteLLM's handler of its proxy's tools.

    No caller's `tools` may make this process call a tool server, and the handler's package is not installed.
    """

    @staticmethod
    def should_use_litellm_mcp_gateway(tools: object) -> bool:  # noqa: ARG004  (whatever they are)
        """Never."""
        return False


def _switch_off() -> None:
    gateway = ModuleType("litellm.responses.mcp.litellm_proxy_mcp_handler")
    vars(gateway)["LiteLLM_Proxy_MCP_Handler"] = _NoToolGateway
    sys.modules[gateway.__name__] = gateway
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.cache = None
    litellm.num_retries = 0
    litellm.callbacks = []
    litellm.success_callback = []
    litellm.failure_callback = []
    litellm._async_success_callback = []  # noqa: SLF001  (its only name)
    litellm._async_failure_callback = []  # noqa: SLF001  (its only name)
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger(name).propagate = False


class _NoClient:
    """In the place of LiteLLM's blocking client."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"LiteLLM may not {name} for itself")


class General:
    """LiteLLM's entry points over our own connections."""

    name = "general"

    def __init__(
        self,
        proxies: Proxies,
        environ: Mapping[str, str],
        *,
        images: Images | None = None,
    ) -> None:
        _switch_off()
        self.images = images or Images()
        self._proxies = proxies
        self._environ = environ
        self._transport = Transport()
        handler = AsyncHTTPHandler(transport=self._transport, follow_redirects=False)
        litellm.in_memory_llm_clients_cache = _OurClients(handler)
        litellm.module_level_aclient = handler
        # With this one LiteLLM would fetch what a request points at, and everything would wait for it.
        litellm.module_level_client = cast("Any", _NoClient())
        litellm.aclient_session = httpx.AsyncClient(transport=self._transport, follow_redirects=False)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.shut()
        await self.images.aclose()

    async def call(self, call: Call) -> AsyncGenerator[Piece]:
        """Call the provider through LiteLLM."""
        noted = Wire(proxy=self._proxies.of(call.deployment))
        wire.set(noted)
        begun = False
        if call.stream and call.operation is Operation.MESSAGES and call.deployment.provider == "anthropic":
            # LiteLLM would read on, and be billed, when the caller has left.
            raise Failed(ErrorClass.UNSUPPORTED, "streamed messages need the fast engine", called=False)
        call = await self.prepared(call)
        try:
            answer = await _entry(call)(**self._arguments(call))
            if not call.stream:
                yield Piece(plain(answer), headers=noted.headers)
                return
            async with aclosing(_chunks(answer)) as chunks:
                async for piece in chunks:
                    if isinstance(problem := piece.data.get("error"), dict) and not piece.data.get("choices"):
                        failed = told(problem, call.key)
                        failed.headers = noted.headers
                        raise failed
                    yield piece if begun else replace(piece, headers=noted.headers)
                    begun = True
        except Failed:
            raise
        except Exception as error:
            raise _failed(error, noted, call.key, begun=begun) from error

    async def prepared(self, call: Call) -> Call:
        """The call as LiteLLM may see it: without addresses to fetch, nor caches to create, at its own will.

        Raises:
            Failed: a picture that may not be fetched.

        """
        if call.deployment.provider not in FETCHED_HERE:
            return call
        body = await self.images.inlined(call.body)
        if call.deployment.provider in ("gemini", "vertex_ai"):
            # LiteLLM would create, and be billed for, a cache at Google's for every marked message.
            body = uncached(body)
        return replace(call, body=body)

    async def rehearse(self, deployment: Deployment) -> None:
        """Do all of a call but the sending, so that the first real one need not wait for LiteLLM's imports."""
        body = {"messages": [{"role": "user", "content": "."}], "input": ".", "prompt": "."}
        for stream in (False, True):
            wire.set(Wire(dry=True))
            call = Call(deployment, "none", Operation.CHAT, body, stream=stream, timeout_s=5)
            # The rehearsal's own refusal to send, or whatever is missing for this provider.
            with suppress(Exception):
                answer = await litellm.acompletion(**self._arguments(call))
                async with aclosing(_chunks(answer)) as chunks:
                    async for _ in chunks:
                        break

    def estimate(self, call: Call, said: str) -> Usage:
        """Count tokens with the tokenizer that LiteLLM knows for the model."""
        model = call.deployment.base_model or call.deployment.litellm_model
        texts, pictures = _texts(call.body)
        prompt = _count(model, "\n".join(texts)) + pictures * PICTURE_TOKENS
        return Usage(prompt_tokens=prompt, completion_tokens=_count(model, said))

    def _arguments(self, call: Call) -> dict[str, Any]:
        deployment = call.deployment
        given, rest = split(call)
        arguments = {**configured(deployment, self._environ), **given}
        if rest:
            arguments["extra_body"] = rest
        if call.stream:
            arguments["stream"] = True
            if call.operation in (Operation.CHAT, Operation.COMPLETIONS):
                arguments["stream_options"] = {"include_usage": True}
        arguments.update(
            model=f"{deployment.provider}/{deployment.litellm_model}",
            api_key=call.key or "none",
            timeout=httpx.Timeout(call.timeout_s, connect=min(CONNECT_S, call.timeout_s)),
            max_retries=0,
            num_retries=0,
            caching=False,
            drop_params=bool(deployment.params.get("drop_params")),
        )
        if base := address(deployment, self._environ):
            arguments["api_base"] = base
        return arguments


def uncached(value: Any) -> Any:
    """The same without Anthropic's marks of what to cache."""
    if isinstance(value, dict):
        return {name: uncached(one) for name, one in value.items() if name != "cache_control"}
    return [uncached(one) for one in value] if isinstance(value, list) else value


def split(call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a body LiteLLM takes as arguments, and what travels as it is; its switches do neither."""
    deployment = call.deployment
    known = ARGUMENTS[call.operation] | NATIVE.get(deployment.provider, frozenset())
    arguments = {name: value for name, value in call.body.items() if name in known and value is not None}
    if "max_completion_tokens" in arguments and not _knows_the_new_name(deployment):
        arguments["max_tokens"] = arguments.pop("max_completion_tokens")
    if deployment.provider in NATIVE:
        return arguments, {}
    barred = SWITCHES | ROUTING.get(_router(deployment), frozenset())
    rest = {name: value for name, value in call.body.items() if name not in known and name not in barred}
    return arguments, rest


def _router(deployment: Deployment) -> str:
    """Whose rules a deployment follows: OpenRouter's address may stand behind any provider's name."""
    return "openrouter" if "openrouter.ai" in deployment.api_base else deployment.provider


def _knows_the_new_name(deployment: Deployment) -> bool:
    """Whether max_completion_tokens is heard; who does not know it, ignores it and writes on at our expense.

    LiteLLM translates the old name to each provider's own, OpenAI's newer models included, but not the new one to all.
    """
    elsewhere = deployment.api_base or deployment.api_base_ref
    return deployment.provider == "azure" or (deployment.provider == "openai" and not elsewhere)


def configured(deployment: Deployment, environ: Mapping[str, str]) -> dict[str, Any]:
    """What else the configuration says of a deployment, in LiteLLM's words."""
    return {
        name: environ.get(reference(value), "") if reference(value) else value
        for name, value in deployment.params.items()
    }


def address(deployment: Deployment, environ: Mapping[str, str]) -> str:
    """Where a deployment is; empty where LiteLLM knows its provider's one address."""
    if deployment.api_base_ref:
        return environ.get(deployment.api_base_ref, "")
    return deployment.api_base or _ADDRESSES.get(deployment.provider, "")


def _entry(call: Call) -> Any:
    match call.operation:
        case Operation.CHAT:
            return litellm.acompletion
        case Operation.COMPLETIONS:
            return litellm.atext_completion
        case Operation.EMBEDDINGS:
            return litellm.aembedding
        case Operation.RESPONSES:
            return litellm.aresponses
        case Operation.MESSAGES:
            return anthropic_messages.acreate


def plain(answer: Any) -> dict[str, Any]:
    """A LiteLLM object as JSON would have it, without the fields that LiteLLM adds empty."""
    if isinstance(answer, dict):
        return answer
    data: dict[str, Any] = orjson.loads(answer.model_dump_json(exclude_none=True))
    for choice in data.get("choices") or ():
        parts = [choice, choice.get("message") or {}, choice.get("delta") or {}]
        for part in parts:
            if not any((part.get("provider_specific_fields") or {}).values()):
                part.pop("provider_specific_fields", None)
        if "message" in choice:
            # Null, not absent, is what OpenAI's clients expect of a message that only calls tools.
            choice["message"].setdefault("content", None)
    if isinstance(reported := data.get("usage"), dict):
        # LiteLLM's own idea of the cost; ours is in the report.
        reported.pop("cost", None)
    return data


async def _chunks(stream: Any) -> AsyncGenerator[Piece]:
    """Chunks as JSON would have them; a finish that LiteLLM makes up for a broken stream is left out."""
    if isinstance(stream, litellm.CustomStreamWrapper) and stream.completion_stream is None:
        await stream.fetch_stream()
    inner = getattr(stream, "completion_stream", None)
    finishes: list[Any] | None = None
    if isinstance(inner, GeminiEvents):
        finishes = []
        inner.chunk_parser = _noting(inner.chunk_parser, finishes)  # type: ignore[method-assign, assignment]
    try:
        if isinstance(inner, openai.AsyncStream):
            # OpenAI's own client reads its format better than LiteLLM's wrapper, which loses choices beyond the first.
            async for chunk in inner:
                yield Piece(orjson.loads(chunk.model_dump_json(exclude_unset=True)))
            return
        async for chunk in stream:
            if isinstance(chunk, bytes | str):
                for data in _events(chunk):
                    yield Piece(data)
                continue
            data = plain(chunk)
            if isinstance(stream, litellm.CustomStreamWrapper):
                if stream.sent_last_chunk and not _ended(stream, finishes):
                    # LiteLLM made this chunk up to close a stream that its provider did not.
                    continue
                if not any(getattr(seen, "usage", None) for seen in stream.chunks):
                    # No chunk of the provider's held any: LiteLLM has counted for itself.
                    data.pop("usage", None)
            yield Piece(data)
        if isinstance(stream, litellm.CustomStreamWrapper) and _ended(stream, finishes):
            yield Piece({}, done=True)
    finally:
        for closing in (stream, inner):
            close = getattr(closing, "aclose", None) or getattr(closing, "close", None)
            if close is not None:
                await close()


def _noting(parse: Callable[[Any], Any], finishes: list[Any]) -> Callable[[Any], Any]:
    """Gemini's parser, noting the finishes that were really sent: LiteLLM makes one up for every chunk."""

    def read(chunk: Any) -> Any:
        finishes.extend(
            one["finishReason"] for one in chunk.get("candidates") or () if one.get("finishReason")
        )
        return parse(chunk)

    return read


def _ended(stream: Any, finishes: list[Any] | None) -> bool:
    """Whether the provider itself said why it stopped."""
    if finishes is not None:
        return bool(finishes)
    return stream.received_finish_reason is not None or stream.intermittent_finish_reason is not None


def _events(text: bytes | str) -> list[dict[str, Any]]:
    """The data of server-sent events, as LiteLLM hands on Anthropic's."""
    lines = (text if isinstance(text, str) else text.decode()).splitlines()
    return [
        orjson.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip() != "[DONE]"
    ]


def _texts(body: Mapping[str, Any]) -> tuple[list[str], int]:
    """The texts of a prompt, and how many pictures and the like it holds."""
    texts: list[str] = []
    others = 0
    waiting = [body.get(name) for name in _PROMPT]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, Mapping):
            if part.get("type") in _NOT_TEXT:
                others += 1
            else:
                waiting += part.values()
    return texts, others


_PROMPT = ("messages", "input", "prompt", "instructions", "system", "tools", "functions")
_NOT_TEXT = frozenset(
    ("image_url", "input_image", "image", "input_audio", "file", "input_file", "document", "video_url")
)


def _count(model: str, text: str) -> int:
    """Tokens of a text; a long one is counted in part, as the tokenizer stops everything else meanwhile."""
    if not text:
        return 0
    sample = text[:COUNTED_CHARS]
    try:
        counted = int(litellm.token_counter(model=model, text=sample))
    except Exception:  # noqa: BLE001  (a tokenizer fails in its own ways, and a bill must not be lost for it)
        # No token is shorter than a byte.
        return len(text.encode("utf-8", "replace"))
    return counted * len(text) // len(sample)


def _failed(error: Exception, noted: Wire, key: str | None, *, begun: bool) -> Failed:
    """What happened, going by the wire where it saw something, by LiteLLM's exception where it did not."""
    said = said_by(error, key)
    if noted.status_code >= 400:
        return refusal(noted.status_code, noted.headers, noted.body, key)
    if noted.error is not None:
        return _broken_wire(noted, begun=begun)
    if not noted.sent:
        return Failed(untranslated(error), said, called=False)
    if not begun and (problem := in_band(noted.body, key)) is not None:
        return problem
    if begun:
        return Failed(ErrorClass.CUT, said, noted.status_code, headers=noted.headers, billed=True)
    if isinstance(error, Timeout):
        return Failed(ErrorClass.TIMEOUT, said, billed=True)
    return Failed(
        ErrorClass.MALFORMED,
        f"the provider's answer could not be read: {type(error).__name__}",
        noted.status_code,
        headers=noted.headers,
        billed=True,
    )


def in_band(body: bytes, key: str | None) -> Failed | None:
    """The error that a body or stream calling itself a success begins with; None when it does not."""
    if body.startswith(b"event:"):
        body = body.partition(b"\n")[2]
    text = body.removeprefix(b"data:").partition(b"\n\n")[0]
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict) or not data.get("error"):
        return None
    return told(data["error"], key)


def _broken_wire(noted: Wire, *, begun: bool) -> Failed:
    what = type(noted.error).__name__
    if isinstance(noted.error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Failed(ErrorClass.CONNECTION, f"cannot connect: {what}")
    if begun:
        return Failed(ErrorClass.CUT, f"the connection broke: {what}", noted.status_code, billed=True)
    if isinstance(noted.error, httpx.TimeoutException):
        return Failed(ErrorClass.TIMEOUT, f"no answer: {what}", noted.status_code, billed=True)
    return Failed(ErrorClass.CONNECTION, f"the connection broke: {what}", noted.status_code, billed=True)


def said_by(error: Exception, key: str | None) -> str:
    """The first line of an exception of LiteLLM's; what follows are tracebacks and links to its bug reports."""
    text = str(getattr(error, "message", "") or error).strip()
    return clean(text.splitlines()[0] if text else type(error).__name__, key)


def untranslated(error: Exception) -> ErrorClass:
    """Whose fault it is that a request could not even be translated."""
    if isinstance(error, UnsupportedParamsError):
        return ErrorClass.UNSUPPORTED
    if isinstance(error, BadRequestError) or getattr(error, "status_code", 0) == 400:
        return ErrorClass.BAD_REQUEST
    return ErrorClass.UNSUPPORTED
