"""OpenAI's chat completions, and the providers that speak its format."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import orjson
from litellm.main import responses_api_bridge_check

from services.executor.engines.base import Call, Piece
from services.executor.engines.prepare import Prepared
from services.executor.engines.translation import Upstream, check, config_of, known_address, options

# Providers whose calls LiteLLM makes with OpenAI's own client.
OPENAI_CLIENT = frozenset(("openai", "custom_openai", "featherless_ai", "cerebras", "mistral"))
# Providers in OpenAI's format that LiteLLM calls itself.
OPENAI_LIKE = frozenset(("deepseek", "groq", "hosted_vllm", "openrouter", "together_ai", "fireworks_ai"))


def translate(prepared: Prepared) -> Upstream | None:
    """A chat for OpenAI or a provider in its format; None when only LiteLLM's entry point knows how."""
    call = prepared.call
    deployment = call.deployment
    config = config_of(deployment)
    messages, optional, rest = options(prepared, config)
    if deployment.provider == "openai" and _needs_responses(call, prepared.base):
        return None
    if "fake_stream" in optional or "json_mode" in optional:
        # The answer has to be turned inside out: a schema that was sent as a tool, a stream made of a whole.
        return None
    headers = prepared.headers
    base = prepared.base or known_address(deployment.provider, deployment.litellm_model)
    parameters: dict[str, Any] = {"api_base": base or None, "custom_llm_provider": deployment.provider}
    if deployment.provider in OPENAI_CLIENT:
        url = f"{base.rstrip('/')}/chat/completions"
        headers = {"authorization": f"Bearer {prepared.key}", **headers}
        if organization := prepared.settings.get("organization"):
            headers["openai-organization"] = organization
    else:
        headers = config.validate_environment(
            api_key=prepared.key,
            headers=headers,
            model=deployment.litellm_model,
            messages=messages,
            optional_params=optional,
            api_base=base or None,
            litellm_params=parameters,
        )
        url = config.get_complete_url(
            api_base=base or None,
            api_key=prepared.key,
            model=deployment.litellm_model,
            optional_params=optional,
            stream=call.stream,
            litellm_params=parameters,
        )
    body = config.transform_request(
        model=deployment.litellm_model,
        messages=messages,
        optional_params=optional,
        litellm_params=parameters,
        headers=headers,
    )
    body.update(rest)
    headers["content-type"] = "application/json"
    return Upstream(url, headers, body, read_whole, read_event)


def _needs_responses(call: Call, base: str) -> bool:
    """Whether LiteLLM would send this chat to OpenAI's responses instead: some models' tools work only there."""
    tools, effort = call.body.get("tools"), call.body.get("reasoning_effort")
    model = call.deployment.litellm_model
    return _is_bridged(model, base, tools, effort) if tools or effort else _is_always_bridged(model, base)


@cache
def _is_always_bridged(model: str, base: str) -> bool:
    return _is_bridged(model, base, None, None)


def _is_bridged(model: str, base: str, tools: Any, effort: Any) -> bool:
    info, _ = responses_api_bridge_check(
        model=model,
        custom_llm_provider="openai",
        tools=tools,
        reasoning_effort=effort,
        api_base=base or None,
    )
    return bool(info.get("mode") == "responses")


def read_whole(body: bytes, headers: Mapping[str, str]) -> Piece:  # noqa: ARG001
    """An answer that needs no translation.

    Raises:
        ValueError, TypeError: it is no JSON object.
    """
    data = orjson.loads(body)
    if not isinstance(data, dict):
        raise TypeError("not an object")
    return Piece(data, body.decode())


def read_content(body: bytes, headers: Mapping[str, str]) -> Piece:
    """An answer that may be sound, or a text of its own format.

    Raises:
        ValueError, TypeError: it says that it is JSON, and is no object.
    """
    content_type = headers.get("content-type", "application/octet-stream")
    if "json" in content_type:
        return read_whole(body, headers)
    if "html" in content_type:
        raise TypeError("a page")
    return Piece({}, content=body, content_type=content_type)


def read_event(event: bytes) -> Iterable[Piece]:
    """The chunk of an event that needs no translation.

    Raises:
        Failed: an error came instead of a chunk.
        ValueError: it is no JSON.
    """
    if event == b"[DONE]":
        return (Piece({}, done=True),)
    data = orjson.loads(event)
    if not isinstance(data, dict):
        return ()
    if not data.get("choices"):
        check(data)
    return (Piece(data, event.decode()),)
