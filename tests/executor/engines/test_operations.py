"""Both engines answer responses, messages, completions and embeddings alike, and bill what the provider counts.

As for chats, it holds for the pinned LiteLLM only. Two streams are refused by `general`: of Anthropic's own messages,
whose events are compared with the whole answer's in tests/executor/bridges, and of pictures and speech, which
tests/executor/test_media.py counts.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from services.chassis.operations import BY_UNIT, Operation
from services.executor.engines.base import File
from services.executor.engines.direct import TRANSLATIONS, DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.openai import OPENAI_CLIENT
from services.executor.engines.outcomes import ErrorClass
from services.executor.servicer import WHOLE
from tests.executor.differential import Seen, bare, difference, miscounted, seen
from tests.executor.fleet import deployment
from tests.executor.operation_requests import SHAPES
from tests.simulator import Simulator
from tests.simulator.media import silence

# All shapes with all deployments (LUMNI_THOROUGH=1), or another part of them with each: a larger one with each format.
THOROUGH = bool(os.environ.get("LUMNI_THOROUGH"))
SHARE, SMALL_SHARE = 4, 16
FORMATS = ("openai", "anthropic", "gemini", "hosted_vllm")
NATIVE: dict[str, Any] = {"endpoints": ("/v1/responses",)}
# A model of each provider that the engine `fast` calls.
MODELS = {
    **dict.fromkeys(sorted(TRANSLATIONS), "model"),
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
CHATS: tuple[tuple[str, str, dict[str, Any]], ...] = tuple((*one, {}) for one in MODELS.items())
# What is asked of whom: first those who speak the operation, then those for whom it is made a chat.
CASES: tuple[tuple[Operation, str, str, dict[str, Any]], ...] = (
    (Operation.RESPONSES, "openai", "gpt-4o", NATIVE),
    (Operation.RESPONSES, "openai", "gpt-5.1", NATIVE),
    *((Operation.RESPONSES, *one) for one in CHATS),
    *((Operation.MESSAGES, *one) for one in CHATS),
    (Operation.COMPLETIONS, "openai", "gpt-3.5-turbo-instruct", {"mode": "completion"}),
    *((Operation.COMPLETIONS, *one) for one in CHATS),
    (Operation.EMBEDDINGS, "openai", "text-embedding-3-small", {"mode": "embedding"}),
    (Operation.EMBEDDINGS, "openai", "model", {"mode": "embedding"}),
    (Operation.EMBEDDINGS, "hosted_vllm", "model", {"mode": "embedding"}),
    (Operation.EMBEDDINGS, "mistral", "mistral-embed", {"mode": "embedding"}),
    (Operation.EMBEDDINGS, "gemini", "gemini-embedding-001", {"mode": "embedding"}),
    (Operation.IMAGE_GENERATION, "openai", "gpt-image-1", {"mode": "image_generation"}),
    (Operation.IMAGE_GENERATION, "openai", "dall-e-3", {"mode": "image_generation"}),
    (Operation.AUDIO_SPEECH, "openai", "tts-1", {"mode": "audio_speech"}),
    (Operation.AUDIO_TRANSCRIPTION, "openai", "whisper-1", {"mode": "audio_transcription"}),
    (Operation.AUDIO_TRANSCRIPTION, "openai", "gpt-4o-transcribe", {"mode": "audio_transcription"}),
)
SOUND = File("sound.wav", "audio/wav", silence("wav", 2500))
_IDS = ("id", "item_id", "call_id")
_TIMES = ("created", "created_at")
# Gemini tells no tokens of vectors, and nobody any of a text that is no JSON.
TEXTS = frozenset(("text", "srt", "vtt"))
SILENT = frozenset(((Operation.EMBEDDINGS, "gemini"),))
# Of these LiteLLM does not ask a stream's usage.
UNASKED = frozenset(("cerebras", "featherless_ai", "mistral"))
# Of these LiteLLM loses by which tier a stream was served.
LOST_TIERS = frozenset(("openrouter",))
# What only `general` refuses. LiteLLM asks no model to reason of which its price table does not say that it can, where
# `fast` lets the provider answer; it would make the choices of a streamed completion one; and it knows which models give
# no addresses of pictures.
REFUSED = frozenset(
    (
        (Operation.RESPONSES, "gpt-4o", False, "reasoning"),
        (Operation.RESPONSES, "gpt-4o", True, "reasoning"),
        (Operation.COMPLETIONS, "gpt-3.5-turbo-instruct", True, "n two"),
        (Operation.IMAGE_GENERATION, "gpt-image-1", False, "address"),
    )
)
# Of Anthropic's messages LiteLLM sends a closed list of fields, says what goes without saying, and asks for a trial of
# what is no trial any more; `fast` sends what came.
UNKNOWN_TO_LITELLM = ("service_tier", "foo", "bar", "stream")


def cases() -> Iterator[Any]:
    for operation, provider, model, more in CASES:
        for stream in (False, True):
            if stream and operation in (*WHOLE, *BY_UNIT):
                continue
            if stream and (operation, provider) == (Operation.MESSAGES, "anthropic"):
                continue
            spoken = "-speaks" if more else ""
            name = f"{operation}-{provider}-{model}{spoken}-{'stream' if stream else 'whole'}"
            yield pytest.param(operation, provider, model, more, stream, id=name)


def shapes(operation: Operation, provider: str, *, stream: bool) -> dict[str, dict[str, Any]]:
    every = SHAPES[operation]
    if THOROUGH:
        return every
    share = SMALL_SHARE if provider in MODELS and provider not in FORMATS else SHARE
    first = list(MODELS).index(provider) + stream
    return {name: body for at, (name, body) in enumerate(every.items()) if (at + first) % share == 0}


def read(texts: list[dict[str, Any]]) -> Any:
    """All that is said, with each id as the place where it is first said, and without times."""
    places: dict[str, int] = {}

    def plain(part: Any) -> Any:
        if isinstance(part, list):
            return [plain(one) for one in part]
        if not isinstance(part, Mapping):
            return part
        return {
            name: places.setdefault(value, len(places)) if name in _IDS and value else plain(value)
            for name, value in sorted(part.items())
            if name not in _TIMES
        }

    return [bare(plain(one)) for one in texts]


def read_texts(chunks: list[dict[str, Any]]) -> Any:
    """The pieces of each choice of a streamed completion in order; the engines divide them differently into chunks."""
    choices: dict[int, list[str]] = {}
    for chunk in chunks:
        assert ("text_completion", "public") == (chunk["object"], chunk["model"])
        for choice in chunk["choices"]:
            pieces = (choice.get("text"), choice.get("finish_reason"))
            choices.setdefault(choice["index"], []).extend(piece for piece in pieces if piece)
    return choices


def unfinished(choices: dict[int, list[str]]) -> dict[int, list[str]]:
    """Without the finishes, of which LiteLLM loses all but the first where it is not OpenAI's client that reads."""
    return {
        index: [piece for piece in pieces if piece not in ("stop", "length")]
        for index, pieces in choices.items()
    }


def untiered(part: Any) -> Any:
    """Without the tiers by which providers say that they served a call."""
    if isinstance(part, dict):
        return {name: untiered(value) for name, value in part.items() if name != "service_tier"}
    return [untiered(one) for one in part] if isinstance(part, list) else part


def alike(seen_by_one: Seen, operation: Operation) -> Seen:
    """Without what both engines say in words of their own, and mean the same."""
    for request in seen_by_one.upstream:
        body = request["body"]
        if operation is Operation.MESSAGES and request["path"].endswith("/messages"):
            request["body"] = {name: body[name] for name in body if name not in UNKNOWN_TO_LITELLM}
            request.pop("beta")
        elif operation is Operation.AUDIO_TRANSCRIPTION:
            # The usual one is named, or not.
            request["body"] = {"response_format": "json", **body}
        elif (
            operation is Operation.COMPLETIONS
            and isinstance(body.get("prompt"), list)
            and len(body["prompt"]) == 1
        ):
            request["body"] = {**body, "prompt": body["prompt"][0]}
    return seen_by_one


@pytest.mark.no_cover
@pytest.mark.parametrize(("operation", "provider", "model", "more", "stream"), list(cases()))
async def test_both_engines_do_the_same(
    operation: Operation,
    provider: str,
    model: str,
    more: dict[str, Any],
    stream: bool,
    simulator: Simulator,
    litellm_engine: LiteLLMEngine,
    direct_engine: DirectEngine,
) -> None:
    called = deployment(simulator.url, provider, model, **more)
    understood = read_texts if stream and operation is Operation.COMPLETIONS else read
    different = []
    tried = shapes(operation, provider, stream=stream)
    for name, body in tried.items():
        expected, found = [
            alike(
                await seen(
                    engine,
                    simulator,
                    called,
                    body,
                    operation=operation,
                    stream=stream,
                    read=understood,
                    file=SOUND if operation is Operation.AUDIO_TRANSCRIPTION else None,
                ),
                operation,
            )
            for engine in (litellm_engine, direct_engine)
        ]
        if (
            operation is Operation.COMPLETIONS
            and stream
            and name == "n two"
            and provider not in OPENAI_CLIENT
        ):
            expected.answer, found.answer = unfinished(expected.answer), unfinished(found.answer)
        if stream and provider in LOST_TIERS:
            expected.answer, found.answer = untiered(expected.answer), untiered(found.answer)
        if (operation, model, stream, name) in REFUSED:
            assert (ErrorClass.UNSUPPORTED, []) == (expected.error, expected.upstream)
            expected = found
        silent = (operation, provider) in SILENT or (stream and provider in UNASKED)
        reports = not silent and body.get("response_format") not in TEXTS
        if wrong := difference(expected, found) + miscounted(expected, found, reports=reports):
            different.append(f"{name}: {wrong}")
    assert not different, f"{len(different)} of {len(tried)} differ:\n" + "\n".join(different)
