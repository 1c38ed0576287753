"""A chat translated to Gemini's generateContent and back, by LiteLLM's translation."""

from collections.abc import Callable
from typing import Any, cast

from litellm.llms.vertex_ai.gemini.transformation import _transform_request_body
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator, VertexLLM

from services.executor.engines.prepare import Prepared
from services.executor.engines.translation import (
    SilentLogging,
    Upstream,
    config_of,
    options,
    translated_events,
    translated_whole,
)


def translate(prepared: Prepared) -> Upstream:
    """A chat as a request for Gemini."""
    call = prepared.call
    model = call.deployment.litellm_model
    config = config_of(call.deployment)
    messages, optional, _ = options(prepared, config)
    optional.pop("stream", None)
    parameters: dict[str, Any] = {}
    auth, url = VertexLLM()._get_token_and_url(  # noqa: SLF001  (LiteLLM's only way to the address)
        model=model,
        gemini_api_key=prepared.key,
        auth_header=None,
        vertex_project=None,
        vertex_location=None,
        vertex_credentials=None,
        stream=call.stream or None,
        custom_llm_provider="gemini",
        api_base=prepared.base or None,
    )
    headers = config.validate_environment(
        api_key=auth,
        headers=prepared.headers,
        model=model,
        messages=messages,
        optional_params=optional,
        litellm_params=parameters,
    )
    logging = SilentLogging(optional)
    body: Any = _transform_request_body(
        messages=messages,
        model=model,
        optional_params=optional,
        custom_llm_provider="gemini",
        litellm_params=parameters,
        cached_content=None,
    )
    events = ModelResponseIterator(
        streaming_response=None, sync_stream=True, logging_obj=cast("Any", logging)
    )

    whole = translated_whole(config, logging, model, body, messages, optional, parameters)
    return Upstream(url, headers, body, whole, translated_events(_given_finishes(events.chunk_parser)))


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
