"""A chat translated to Anthropic's messages and back, by LiteLLM's translation."""

from typing import Any

from litellm.llms.anthropic.chat.handler import ModelResponseIterator
from litellm.llms.anthropic.chat.transformation import ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY

from services.executor.engines.prepare import Prepared
from services.executor.engines.translation import (
    SilentLogging,
    Upstream,
    config_of,
    options,
    translated_events,
    translated_whole,
)

ADDRESS = "https://api.anthropic.com"
PATH = "/v1/messages"


def translate(prepared: Prepared) -> Upstream:
    """A chat as a request for Anthropic."""
    call = prepared.call
    model = call.deployment.litellm_model
    config = config_of(call.deployment)
    messages, optional, _ = options(prepared, config)
    optional.pop("stream", None)
    optional.pop("stream_options", None)
    json_mode = bool(optional.pop("json_mode", False))
    parameters: dict[str, Any] = {}
    headers = config.validate_environment(
        api_key=prepared.key,
        headers=prepared.headers,
        model=model,
        messages=messages,
        optional_params={**optional, "is_vertex_request": False},
        litellm_params=parameters,
        api_base=prepared.base or None,
    )
    body = config.transform_request(
        model=model,
        messages=messages,
        optional_params={**optional, "is_vertex_request": False},
        litellm_params=parameters,
        headers=headers,
    )
    if call.stream:
        body["stream"] = True
    logging = SilentLogging(optional)
    events = ModelResponseIterator(
        streaming_response=iter(()),
        sync_stream=True,
        json_mode=json_mode,
        tool_name_reverse_map=parameters.get(ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY),
    )

    whole = translated_whole(
        config, logging, model, body, messages, optional, parameters, json_mode=json_mode
    )
    return Upstream(address(prepared.base), headers, body, whole, translated_events(events.chunk_parser))


def address(base: str) -> str:
    """The address of Anthropic's messages below `base`, which may name them already."""
    return f"{(base or ADDRESS).removesuffix(PATH).rstrip('/')}{PATH}"
