"""The engine over LiteLLM's own entry points, which knows every provider that LiteLLM knows: `general`."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import cache
from typing import Any

import httpx
import litellm
from litellm.anthropic_interface import messages as anthropic_messages
from litellm.exceptions import Timeout
from litellm.types.utils import LlmProviders, LlmProvidersSet
from litellm.utils import ProviderConfigManager

from services.chassis.credentials import CLOUDS
from services.chassis.deployments import Deployment
from services.chassis.operations import BY_UNIT, Operation
from services.executor.engines import litellm_globals, provider_errors, token_count
from services.executor.engines.base import Call, Phase, Piece
from services.executor.engines.litellm_answers import chunks, plain
from services.executor.engines.litellm_errors import first_line, untranslated
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.prepare import Prepared, Preparer
from services.executor.engines.proxies import Proxies
from services.executor.engines.transport import CONNECT_S, Transport, Wire, wire
from services.executor.engines.usage import Usage

# For these LiteLLM calls providers through blocking clients of its own, past our transport: nothing shows whether a
# request was sent, so that a failure would cost nothing, and some go to another host than `api_base`. The list is
# complete for the pinned LiteLLM: tests/executor/engines/test_watched.py asks all that it knows.
_CHATS = "aiohttp_openai amazon_nova maritalk nlp_cloud oobabooga petals"
_UNWATCHED = {
    Operation.CHAT: _CHATS,
    Operation.COMPLETIONS: _CHATS,
    Operation.EMBEDDINGS: "sagemaker",
    Operation.IMAGE_GENERATION: "aiml dashscope edenai fal_ai gemini openrouter qwen_ai_platform qwencloud "
    "recraft runwayml stability vertex_ai",
    Operation.AUDIO_SPEECH: "gemini vertex_ai",
}
UNWATCHED = frozenset(
    (provider, operation) for operation, providers in _UNWATCHED.items() for provider in providers.split()
)


class LiteLLMEngine:
    """LiteLLM's entry points over our own connections."""

    name = "general"

    def __init__(self, proxies: Proxies, preparer: Preparer) -> None:
        self._proxies = proxies
        self._preparer = preparer
        self._transport = Transport()
        litellm_globals.confine(self._transport)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.shut()

    async def call(self, call: Call) -> AsyncGenerator[Piece]:
        """Prepare a call and make it through LiteLLM."""
        async with (
            self._preparer.prepared(call) as prepared,
            aclosing(self.send(prepared)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    async def send(self, prepared: Prepared) -> AsyncGenerator[Piece]:
        """Make a prepared call through LiteLLM.

        Raises:
            Failed: anything else than a whole answer.
        """
        call = prepared.call
        seen = Wire(proxy=self._proxies.of(call.deployment), progress=call.progress)
        wire.set(seen)
        begun = False
        _check_watched(call)
        if call.stream:
            _check_stream(call)
        try:
            answer = await _entry(call)(**_arguments(prepared))
            if not call.stream:
                yield _whole(call, answer, seen)
                return
            async with aclosing(chunks(answer)) as pieces:
                async for piece in pieces:
                    if isinstance(problem := piece.data.get("error"), dict) and not piece.data.get("choices"):
                        failed = provider_errors.from_object(problem, call.key)
                        failed.headers = seen.headers
                        raise failed
                    yield piece if begun else replace(piece, headers=seen.headers)
                    begun = True
        except Failed:
            raise
        except Exception as error:
            raise _failed(error, seen, call.key, begun=begun) from error

    async def warm_up(self, deployment: Deployment) -> None:
        """Do all of a call but the sending, so that the first real one need not wait for LiteLLM's imports."""
        if (deployment.provider, Operation.CHAT) in UNWATCHED:
            # Of these it would be no dry run.
            return
        body = {"messages": [{"role": "user", "content": "."}]}
        for stream in (False, True):
            wire.set(Wire(proxy=self._proxies.of(deployment), dry=True))
            call = Call(deployment, "none", Operation.CHAT, body, stream=stream, timeout_s=5)
            # The dry run's own refusal to send, or whatever is missing for this provider.
            with suppress(Exception):
                async with self._preparer.prepared(call) as prepared:
                    answer = await litellm.acompletion(**_arguments(prepared))
                    async with aclosing(chunks(answer)) as pieces:
                        async for _ in pieces:
                            break

    def estimate(self, call: Call, text: str) -> Usage:
        """Count tokens with the model's tokenizer."""
        return token_count.estimate(call, text)


def _arguments(prepared: Prepared) -> dict[str, Any]:
    call = prepared.call
    arguments = {**prepared.settings, **prepared.arguments}
    as_it_is = dict(prepared.rest)
    if call.operation is Operation.RESPONSES and "max_output_tokens" in arguments:
        # LiteLLM raises a low limit to OpenAI's lowest, past what was reserved.
        as_it_is["max_output_tokens"] = arguments.pop("max_output_tokens")
    if as_it_is:
        arguments["extra_body"] = as_it_is
    if call.operation is Operation.EMBEDDINGS and call.deployment.provider == "openai":
        # LiteLLM knows by OpenAI's names who takes them, and many other servers speak its format.
        arguments["allowed_openai_params"] = ["dimensions"]
    if call.file is not None:
        arguments["file"] = (call.file.name, call.file.content, call.file.content_type)
        if _takes_format(call.deployment):
            # Where the caller names none LiteLLM asks for another one than the usual.
            arguments.setdefault("response_format", "json")
        elif arguments.get("response_format") == "json":
            # The only one there is.
            del arguments["response_format"]
    if call.stream:
        arguments["stream"] = True
        if call.operation in (Operation.CHAT, Operation.COMPLETIONS):
            arguments["stream_options"] = {"include_usage": True}
    arguments.update(
        model=f"{call.deployment.provider}/{call.deployment.litellm_model}",
        timeout=httpx.Timeout(call.timeout_s, connect=min(CONNECT_S, call.timeout_s)),
        max_retries=0,
        num_retries=0,
        caching=False,
        drop_params=prepared.drops_unsupported,
    )
    if call.key or call.deployment.provider not in CLOUDS:
        # A cloud that is shown any key takes it for one, and does not sign by its own credentials.
        arguments["api_key"] = prepared.key
    if prepared.base:
        arguments["api_base"] = prepared.base
    return arguments


@cache
def _takes_format(deployment: Deployment) -> bool:
    """Whether the form of a transcription can be chosen."""
    if deployment.provider not in LlmProvidersSet:
        return True
    translation = ProviderConfigManager.get_provider_audio_transcription_config(
        model=deployment.litellm_model, provider=LlmProviders(deployment.provider)
    )
    return translation is None or "response_format" in translation.get_supported_openai_params(
        deployment.litellm_model
    )


def _entry(call: Call) -> Any:
    match call.operation:
        case Operation.CHAT:
            return litellm.acompletion
        case Operation.COMPLETIONS:
            return litellm.atext_completion
        case Operation.EMBEDDINGS:
            return litellm.aembedding
        case Operation.MODERATIONS:
            return litellm.amoderation
        case Operation.RESPONSES:
            return litellm.aresponses
        case Operation.MESSAGES:
            return anthropic_messages.acreate
        case Operation.IMAGE_GENERATION:
            return litellm.aimage_generation
        case Operation.AUDIO_SPEECH:
            return litellm.aspeech
        case Operation.AUDIO_TRANSCRIPTION:
            return litellm.atranscription


def _whole(call: Call, answer: Any, seen: Wire) -> Piece:
    """An answer without a stream."""
    content_type = seen.headers.get("content-type", "application/octet-stream")
    if call.operation is Operation.AUDIO_SPEECH:
        return Piece({}, headers=seen.headers, content=answer.content, content_type=content_type)
    data = plain(answer)
    if call.operation is Operation.AUDIO_TRANSCRIPTION and "json" not in content_type:
        text = str(data.get("text", "")).encode()
        return Piece({}, headers=seen.headers, content=text, content_type=content_type)
    return Piece(data, headers=seen.headers, estimated=_counts_itself(call, data))


def _check_watched(call: Call) -> None:
    """Refuse a call that LiteLLM would not make over our connections.

    Raises:
        Failed: what the provider would bill could not be known.
    """
    if (call.deployment.provider, call.operation) in UNWATCHED:
        raise Failed(
            ErrorClass.UNSUPPORTED,
            f"capability: {call.operation} is not offered with {call.deployment.provider}, "
            "as its calls could not be accounted for; name a model of another provider",
        )


def _check_stream(call: Call) -> None:
    """Refuse a stream that LiteLLM would spoil.

    Raises:
        Failed: only the engine `fast` can stream it.
    """
    if call.operation is Operation.MESSAGES and call.deployment.provider == "anthropic":
        # LiteLLM would read on, and be billed, after the caller has disconnected.
        raise Failed(ErrorClass.UNSUPPORTED, "streamed messages need the fast engine")
    if call.operation in BY_UNIT:
        # LiteLLM knows no such stream.
        param = "stream_format" if call.operation is Operation.AUDIO_SPEECH else "stream"
        raise Failed(
            ErrorClass.UNSUPPORTED,
            f"{param}: pictures and speech are streamed by OpenAI's own format alone; leave it out",
            param=param,
        )
    if call.operation is Operation.COMPLETIONS and (call.body.get("n") or 1) != 1:
        # LiteLLM makes all choices one.
        raise Failed(
            ErrorClass.UNSUPPORTED, "n: several streamed completions need the fast engine", param="n"
        )


def _counts_itself(call: Call, answer: Mapping[str, Any]) -> bool:
    """Whether LiteLLM has counted the tokens of an answer: Gemini reports those of vectors only with their kinds."""
    if call.operation is not Operation.EMBEDDINGS or call.deployment.provider != "gemini":
        return False
    return not (answer.get("usage") or {}).get("prompt_tokens_details")


def _failed(error: Exception, seen: Wire, key: str | None, *, begun: bool) -> Failed:
    """What happened, going by the wire where it saw something, by LiteLLM's exception where it did not."""
    if seen.status_code >= 400:
        return provider_errors.from_response(seen.status_code, seen.headers, seen.body, key)
    if seen.error is not None:
        return _broken_wire(seen.error, seen, begun=begun)
    if seen.progress.phase is Phase.PREPARING:
        return untranslated(error, key)
    if not seen.progress.sent:
        return provider_errors.unaddressable(error)
    if not begun and (problem := provider_errors.from_body(seen.body, key)) is not None:
        return problem
    if begun:
        message = first_line(error, key)
        return Failed(ErrorClass.CUT, message, seen.status_code, headers=seen.headers, billed=True)
    if isinstance(error, Timeout):
        return Failed(ErrorClass.TIMEOUT, first_line(error, key), billed=True)
    return Failed(
        ErrorClass.MALFORMED,
        f"the provider's answer could not be read: {type(error).__name__}",
        seen.status_code,
        headers=seen.headers,
        billed=True,
    )


def _broken_wire(error: httpx.TransportError, seen: Wire, *, begun: bool) -> Failed:
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return provider_errors.unaddressable(error)
    return provider_errors.from_connection(
        error,
        connecting=not seen.progress.sent,
        timed_out=isinstance(error, httpx.TimeoutException),
        begun=begun,
        status_code=seen.status_code,
    )
