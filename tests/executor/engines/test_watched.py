"""Nothing is asked past our connections, whichever of LiteLLM's providers is called.

It walks LiteLLM's own tables, so that a provider that another version of it knows is asked, too.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import litellm
import pytest
from litellm.llms.vertex_ai.vertex_llm_base import VertexBase
from litellm.types.utils import LlmProviders, LlmProvidersSet
from litellm.utils import ProviderConfigManager

from services.chassis.operations import Operation
from services.executor.engines import litellm_sdk
from services.executor.engines.base import Call, File, Phase, Progress
from services.executor.engines.litellm_sdk import UNWATCHED, LiteLLMEngine
from services.executor.engines.outcomes import Failed
from tests.executor.fleet import deployment
from tests.simulator.media import silence

TRANSLATIONS: Mapping[Operation, Callable[..., Any]] = {
    Operation.CHAT: ProviderConfigManager.get_provider_chat_config,
    Operation.EMBEDDINGS: ProviderConfigManager.get_provider_embedding_config,
    Operation.IMAGE_GENERATION: ProviderConfigManager.get_provider_image_generation_config,
    Operation.AUDIO_SPEECH: ProviderConfigManager.get_provider_text_to_speech_config,
    Operation.AUDIO_TRANSCRIPTION: ProviderConfigManager.get_provider_audio_transcription_config,
}
# The modes of models that are not called as their operation is.
MODES = {Operation.CHAT: "chat", Operation.EMBEDDINGS: "embedding"}
BODIES: Mapping[Operation, dict[str, Any]] = {
    Operation.CHAT: {"messages": [{"role": "user", "content": "hello"}]},
    Operation.EMBEDDINGS: {"input": "hello"},
    Operation.IMAGE_GENERATION: {"prompt": "hello"},
    Operation.AUDIO_SPEECH: {"input": "hello", "voice": "alloy"},
    Operation.AUDIO_TRANSCRIPTION: {"response_format": "json"},
}
# Some who are to be reached: so what is seen is seen, and who has one form of transcription alone is asked for it.
REACHED: Mapping[Operation, frozenset[str]] = {
    Operation.CHAT: frozenset(("azure", "bedrock", "cohere", "groq", "openai", "vertex_ai")),
    Operation.EMBEDDINGS: frozenset(("bedrock", "cohere", "gemini", "openai", "vertex_ai")),
    Operation.IMAGE_GENERATION: frozenset(("azure", "bedrock", "openai", "xai")),
    Operation.AUDIO_SPEECH: frozenset(("azure", "elevenlabs", "mistral", "openai")),
    Operation.AUDIO_TRANSCRIPTION: frozenset(("deepgram", "elevenlabs", "groq", "openai", "xai")),
}
SOUND = File("sound.wav", "audio/wav", silence("wav", 1000))
# Nobody listens there, and no call gets that far.
NOWHERE = "http://127.0.0.1:9/v1"


def is_translated(operation: Operation, provider: LlmProviders) -> bool:
    """Whether LiteLLM has a translation for a provider."""
    try:
        return TRANSLATIONS[operation](model="model", provider=provider) is not None
    except ValueError:
        # One that looks for credentials at once.
        return True


def known(operation: Operation) -> Iterator[tuple[str, str]]:
    """The providers that LiteLLM has a translation or a price for, with models of up to three families; for chats with one."""
    families: dict[str, dict[str, str]] = {}
    for name, about in litellm.model_cost.items():
        provider = about.get("litellm_provider")
        if about.get("mode") == MODES.get(operation, operation) and provider in LlmProvidersSet:
            model = name.removeprefix(f"{provider}/")
            families.setdefault(provider, {}).setdefault(model.partition("-")[0], model)
    for one in LlmProviders:
        if is_translated(operation, one):
            families.setdefault(one.value, {"": "model"})
    for provider, models in families.items():
        for model in [*models.values()][: 1 if operation is Operation.CHAT else 3]:
            yield provider, model


class Connections:
    """What is tried to be connected; all of it is refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[Any] = []
        monkeypatch.setattr(socket, "getaddrinfo", self._refuse)
        monkeypatch.setattr(socket.socket, "connect", self._refuse)

    def _refuse(self, *args: Any, **_: Any) -> None:
        self.tried.append(args)
        raise ConnectionRefusedError("nothing is connected here")


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for those who would be asked for some before anything else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BFL_API_KEY", "GIGACHAT_ACCESS_TOKEN"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")

    async def token(*_: Any, **__: Any) -> tuple[str, str]:
        return "token", "project"

    monkeypatch.setattr(VertexBase, "_ensure_access_token_async", token)
    monkeypatch.setattr(VertexBase, "_ensure_access_token", lambda *_, **__: ("token", "project"))


@pytest.mark.parametrize("operation", TRANSLATIONS)
async def test_every_call_is_made_over_our_connections_or_refused(
    operation: Operation,
    litellm_engine: LiteLLMEngine,
    clouds: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = Connections(monkeypatch)
    monkeypatch.setattr(litellm_sdk, "UNWATCHED", frozenset())
    seen, unwatched = set(), set()
    for provider, model in known(operation):
        progress = Progress()
        connections.tried.clear()
        call = Call(
            deployment("", provider, model, mode=MODES.get(operation, str(operation)), api_base=NOWHERE),
            "sk-provider-key",
            operation,
            dict(BODIES[operation]),
            stream=False,
            timeout_s=10,
            file=SOUND if operation is Operation.AUDIO_TRANSCRIPTION else None,
            progress=progress,
        )
        with pytest.raises(Failed):
            async with aclosing(litellm_engine.call(call)) as pieces:
                async for _ in pieces:
                    pass
        if progress.phase is not Phase.PREPARING:
            seen.add(provider)
        elif connections.tried:
            unwatched.add((provider, operation))

    assert set() == REACHED[operation] - seen
    assert {one for one in UNWATCHED if one[1] is operation} == unwatched


async def test_no_unwatched_provider_is_asked_to_warm_up(
    litellm_engine: LiteLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections(monkeypatch)

    for provider, operation in UNWATCHED:
        if operation is Operation.CHAT:
            await litellm_engine.warm_up(deployment("", provider, api_base=NOWHERE))

    assert [] == connections.tried
