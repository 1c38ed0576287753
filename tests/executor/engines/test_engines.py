"""Both engines send the same request and return the same answer: the proof that `fast` may serve a provider.

It holds for the pinned LiteLLM only; another version has to pass it again.
"""

import os
from typing import Any

import pytest

from services.chassis.operations import Operation
from services.executor.engines.base import Call
from services.executor.engines.direct import TRANSLATIONS, DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.openai import OPENAI_CLIENT
from services.executor.engines.prepare import split
from tests.executor.conftest import KEY
from tests.executor.differential import bare, difference, miscounted, seen
from tests.executor.fleet import deployment
from tests.executor.requests import ALL
from tests.simulator import Simulator


def whole(answers: list[dict[str, Any]]) -> Any:
    """The messages of an answer, without what an engine makes up for itself: ids of its own and times."""
    return [_whole(answer) for answer in answers]


def _whole(answer: dict[str, Any]) -> Any:
    choices = [
        {
            "index": choice["index"],
            "finish_reason": choice["finish_reason"],
            "message": message(choice["message"]),
            "logprobs": bare(choice.get("logprobs")),
        }
        for choice in answer["choices"]
    ]
    return {"object": answer["object"], "model": answer["model"], "choices": choices}


def message(part: dict[str, Any]) -> Any:
    kept = {name: value for name, value in part.items() if name in KEPT}
    for call in kept.get("tool_calls") or ():
        call.pop("id", None)
        call.pop("index", None)
        call.setdefault("type", "function")
    return bare(kept)


KEPT = (
    "role",
    "content",
    "tool_calls",
    "function_call",
    "reasoning_content",
    "refusal",
    "annotations",
    "audio",
)


def folded(chunks: list[dict[str, Any]]) -> Any:
    """The deltas of each choice, in order, without those that say nothing."""
    choices: dict[int, list[Any]] = {}
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["model"] == "public"
        for choice in chunk["choices"]:
            deltas = choices.setdefault(choice["index"], [])
            delta = {
                name: value
                for name, value in (choice.get("delta") or {}).items()
                if name in KEPT and value not in (None, "", [])
            }
            delta.pop("role", None)
            for call in delta.get("tool_calls") or ():
                call.pop("id", None)
                call.pop("type", None)
            if delta:
                deltas.append(bare(delta))
            if choice.get("finish_reason"):
                deltas.append(choice["finish_reason"])
    return choices


# LiteLLM does not ask them for a stream's usage, and Mistral refuses to be asked. They may tell it all the same; the
# simulator does not, and then the record has to say that it is an estimate.
UNASKED = frozenset(("cerebras", "featherless_ai", "mistral"))
# LiteLLM's stream wrapper ends a stream at the first finish, so the other choices' finishes are lost.
LOST_FINISHES = frozenset(("n two", "n three with tools"))


def unfinished(answer: Any) -> Any:
    return {
        index: [delta for delta in deltas if not isinstance(delta, str)] for index, deltas in answer.items()
    }


# Each provider's translations, and the models for which LiteLLM has some of their own.
MODELS = [
    *((provider, "model") for provider in sorted(TRANSLATIONS)),
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.1"),
    ("openai", "o3-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-2.5-flash"),
]
# Everything with everything takes two minutes (LUMNI_THOROUGH=1). The suite takes every shape with the three formats,
# either whole or streamed, and a part of the shapes, another one each, with the rest.
THOROUGH = bool(os.environ.get("LUMNI_THOROUGH"))
WHOLE = (("openai", "model"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash"))


def shapes(provider: str, model: str, *, stream: bool) -> dict[str, dict[str, Any]]:
    if THOROUGH:
        return ALL
    share = 2 if (provider, model) in WHOLE else 12
    first = MODELS.index((provider, model)) + stream
    return {name: body for at, (name, body) in enumerate(ALL.items()) if (at + first) % share == 0}


@pytest.mark.no_cover
@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_both_engines_do_the_same(
    provider: str,
    model: str,
    stream: bool,
    simulator: Simulator,
    litellm_engine: LiteLLMEngine,
    direct_engine: DirectEngine,
) -> None:
    different = []
    for name, body in shapes(provider, model, stream=stream).items():
        called, read = deployment(simulator.url, provider, model), folded if stream else whole
        expected = await seen(litellm_engine, simulator, called, body, stream=stream, read=read)
        found = await seen(direct_engine, simulator, called, body, stream=stream, read=read)
        if stream and name in LOST_FINISHES and provider not in OPENAI_CLIENT:
            expected.answer, found.answer = unfinished(expected.answer), unfinished(found.answer)
        reports = not (stream and provider in UNASKED)
        wrong = difference(expected, found) + miscounted(expected, found, reports=reports)
        if wrong:
            different.append(f"{name}: {wrong}")
    assert not different, f"{len(different)} of {len(ALL)} differ:\n" + "\n".join(different)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("provider", sorted(TRANSLATIONS))
async def test_every_provider_gets_the_limit_of_an_answer_under_its_own_name(
    provider: str, name: str, simulator: Simulator, litellm_engine: LiteLLMEngine, direct_engine: DirectEngine
) -> None:
    body = {"messages": [{"role": "user", "content": "Say something."}], name: 5}
    for engine in (litellm_engine, direct_engine):
        called = deployment(simulator.url, provider)
        found = await seen(engine, simulator, called, body, stream=False, read=whole)
        [sent] = found.upstream
        # Google reads either spelling of its names.
        limits = {**sent["body"], **sent["body"].get("generationConfig", {})}
        sent_limit = limits.get("max_output_tokens", limits.get("max_tokens"))
        assert (5, False) == (sent_limit, "max_completion_tokens" in sent["body"])


@pytest.mark.parametrize(
    ("provider", "api_base", "name"),
    [
        ("openai", "", "max_completion_tokens"),
        ("azure", "https://x.openai.azure.com", "max_completion_tokens"),
        ("openai", "http://127.0.0.1:8000/v1", "max_tokens"),
        ("deepseek", "", "max_tokens"),
    ],
)
def test_only_openai_itself_gets_the_limit_under_its_new_name(
    provider: str, api_base: str, name: str
) -> None:
    call = Call(
        deployment=deployment("", provider, api_base=api_base),
        key=KEY,
        operation=Operation.CHAT,
        body={"max_completion_tokens": 5},
        stream=False,
        timeout_s=10,
    )

    assert ({name: 5}, {}) == split(call)
