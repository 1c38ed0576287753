"""Operations that a provider offers in the caller's own format: they need no translation and pass through."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.chassis.operations import Operation
from services.executor.engines import anthropic
from services.executor.engines.openai import read_content, read_event, read_whole
from services.executor.engines.prepare import SWITCHES, Prepared
from services.executor.engines.translation import Upstream, known_address

_OPENAI_PATHS = {
    Operation.RESPONSES: "/responses",
    Operation.COMPLETIONS: "/completions",
    Operation.EMBEDDINGS: "/embeddings",
    Operation.MODERATIONS: "/moderations",
    Operation.IMAGE_GENERATION: "/images/generations",
    Operation.AUDIO_SPEECH: "/audio/speech",
    Operation.AUDIO_TRANSCRIPTION: "/audio/transcriptions",
}
# The header that names what Anthropic is asked for beyond its stable API.
BETA = "anthropic-beta"
# Answers that may be no JSON.
_CONTENT = frozenset((Operation.AUDIO_SPEECH, Operation.AUDIO_TRANSCRIPTION))
# Switches of LiteLLM's that are fields of these formats, too.
_FIELDS = frozenset(("metadata",))


def translate(prepared: Prepared) -> Upstream | None:
    """The request as it came, under the provider's name of the model; None where it needs a translation."""
    call = prepared.call
    provider = call.deployment.provider
    betas: list[str] = []
    if provider == "anthropic" and call.operation is Operation.MESSAGES:
        url = anthropic.address(prepared.base)
        headers = {"x-api-key": prepared.key, "anthropic-version": "2023-06-01"}
        betas = list(_betas(call.body))
    elif provider == "openai" and call.operation in _OPENAI_PATHS:
        base = prepared.base or known_address(call.deployment.provider, call.deployment.litellm_model)
        url = f"{base.rstrip('/')}{_OPENAI_PATHS[call.operation]}"
        headers = {"authorization": f"Bearer {prepared.key}"}
    else:
        return None
    body = {name: value for name, value in call.body.items() if name not in SWITCHES or name in _FIELDS}
    body["model"] = call.deployment.litellm_model
    if call.stream:
        body |= {"stream_format": "sse"} if call.operation is Operation.AUDIO_SPEECH else {"stream": True}
        if call.operation is Operation.COMPLETIONS:
            body["stream_options"] = {"include_usage": True}
    headers |= prepared.headers
    if betas:
        # Beside those that the deployment is configured with.
        configured = headers.get(BETA)
        headers[BETA] = ",".join([configured, *betas] if configured else betas)
    if call.file is None:
        headers["content-type"] = "application/json"
    whole = read_content if call.operation in _CONTENT else read_whole
    return Upstream(url, headers, body, whole, read_event, call.file)


def _betas(body: Mapping[str, Any]) -> Iterator[str]:
    """Anthropic's names of what a body has that is known there only to those who name it."""
    if "context_management" in body:
        yield "context-management-2025-06-27"
    if any(message.get("role") == "system" for message in body["messages"]):
        yield "mid-conversation-system-2026-04-07"
