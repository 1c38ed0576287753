"""What a question gets that only says the same as an earlier one, with the classifier's own embedder."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from lumni.events.v1 import events_pb2
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis import errors, redis, telemetry
from services.classifier.embedding import Embedder
from services.gateway.cache.response_cache import MOST_COMPARED
from services.gateway.config.live import Live
from services.gateway.pipeline.added_prompts import SystemPromptRules
from services.gateway.prompts.system_prompts import SystemPrompts
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest
from tests.gateway.conftest import eventually
from tests.gateway.money import caller
from tests.gateway.pipeline.test_cached_answers import BODY, REPORT, Gateways, ask, result
from tests.gateway.pipeline.test_pipeline import Setup, pending

FIRST = "What is the capital of Peru?"
SAME = "Hi, tell me what the capital of Peru is, please."
OTHER = "What is the capital of Chile?"
WHO = replace(caller(), plan=replace(caller().plan, semantic_cache=True))


def asking(text: str = SAME, **more: Any) -> ModelRequest:
    body = {"temperature": 0, "messages": [{"role": "user", "content": text}], **more}
    return chat_request.parse(json.dumps(body))


class Embeds:
    """The real embedder, as the classifier calls it; counts, and fails on demand."""

    def __init__(self) -> None:
        self._embedder = Embedder()
        self.calls = 0
        self.failure: errors.Fault | None = None

    async def __call__(self, text: str) -> Sequence[float]:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        vector: list[float] = self._embedder.embed_text(text).tolist()
        return vector


@pytest.fixture(scope="module")
def embeds() -> Embeds:
    return Embeds()


@pytest.fixture
async def gateways(client: redis.Redis) -> AsyncIterator[Gateways]:
    async with AsyncExitStack() as ends:
        yield Gateways(client, ends)


@pytest.fixture
async def setup(gateways: Gateways, embeds: Embeds) -> Setup:
    """A gateway that has answered FIRST."""
    embeds.failure = None
    one = await gateways.start(BODY, REPORT, embed=embeds)
    assert "miss" == result(await ask(one, asking(FIRST), WHO))

    async def is_kept() -> bool:
        return "hit" == result(await ask(one, asking(FIRST), WHO))

    await eventually(is_kept)
    return one


async def test_the_same_in_other_words_is_answered_for_nothing_and_says_so(
    setup: Setup, spans: InMemorySpanExporter
) -> None:
    with telemetry.server_span("request", ""):
        answer = await ask(setup, asking(), WHO)

    assert "semantic" == result(answer)
    (stage,) = (span for span in spans.get_finished_spans() if span.name == "cache")
    assert {"lumni.cache": "semantic"} == stage.attributes
    lumni = json.loads(answer.body)["lumni"]
    assert (0, 7e-9) == (lumni["cost"]["nano_usd"], lumni["cache"]["saved_usd"])
    assert "0.000000000" == answer.headers["x-lumni-cost-usd"]
    assert 1 == setup.executor.calls
    event = setup.decisions.usage[-1]
    assert (events_pb2.USAGE_KIND_CACHED, 0, 7, "semantic") == (
        event.kind,
        event.attempt.cost_nano_usd,
        event.saved_nano_usd,
        event.cache_result,
    )
    made = lumni["cache"]["request_id"]
    assert setup.decisions.events[-1].selection.reason.startswith(f"semantic cache: made for {made}")
    # The first one's reason is what it was.
    assert "hit" == result(await ask(setup, asking(FIRST), WHO))
    assert not setup.decisions.events[-1].selection.reason.startswith("semantic cache")


async def test_what_it_is_not_compared_with(setup: Setup, embeds: Embeds) -> None:
    others = [
        (asking(OTHER), WHO),
        (asking(model="small"), WHO),
        (asking(tools=[{"type": "function", "function": {"name": "f"}}]), WHO),
        (asking(response_format={"type": "json_object"}), WHO),
        (asking(max_completion_tokens=5), WHO),
        (
            asking(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": SAME}]),
            WHO,
        ),
        (asking(), replace(WHO, tenant="user:bob")),
        (asking(), replace(WHO, models=("small",))),
        (asking(), replace(WHO, plan=replace(WHO.plan, name="other"))),
    ]
    assert ["miss"] * len(others) == [result(await ask(setup, chat, who)) for chat, who in others]

    before = embeds.calls
    # Neither the plan nor the request may be overruled by the other.
    assert "miss" == result(await ask(setup, asking("Hello. " + SAME), caller()))
    assert "miss" == result(await ask(setup, asking("Hey. " + SAME, cache={"semantic": True}), caller()))
    assert "miss" == result(await ask(setup, asking(cache={"semantic": False}), WHO))
    assert result(await ask(setup, asking(temperature=1), WHO)) is None
    assert before == embeds.calls


async def test_a_request_may_ask_for_it_at_any_temperature(setup: Setup) -> None:
    warm: dict[str, Any] = {"temperature": 1, "cache": {"semantic": True}}
    assert "miss" == result(await ask(setup, asking(FIRST, **warm), WHO))

    async def is_found() -> bool:
        return "semantic" == result(await ask(setup, asking(**warm), WHO))

    await eventually(is_found)


async def test_rules_that_depend_on_the_message_allow_only_equal_requests(setup: Setup) -> None:
    setup.pipeline._rules = Live(SystemPromptRules(SystemPrompts(languages={"de": "Duze."})))
    assert "miss" == result(await ask(setup, asking(FIRST), WHO))
    assert "miss" == result(await ask(setup, asking(), WHO))


async def test_an_answer_that_was_made_anew_is_found_by_others_too(setup: Setup) -> None:
    async def made_for() -> str:
        return str(json.loads((await ask(setup, asking(FIRST), WHO)).body)["lumni"]["cache"]["request_id"])

    first, chat = await made_for(), asking(FIRST)
    assert "bypass" == result(await ask(setup, replace(chat, cache=replace(chat.cache, no_cache=True)), WHO))

    async def is_made_anew() -> bool:
        return await made_for() != first

    await eventually(is_made_anew)
    assert "semantic" == result(await ask(setup, asking(), WHO))


async def test_a_long_conversation_is_compared_with_none(setup: Setup, embeds: Embeds) -> None:
    before = embeds.calls
    system = {"role": "system", "content": "w" * MOST_COMPARED}
    long = asking(messages=[system, {"role": "user", "content": FIRST}])
    assert "miss" == result(await ask(setup, long, WHO))
    assert before == embeds.calls


async def test_no_older_answer_than_wished(setup: Setup) -> None:
    chat = asking()
    assert "miss" == result(await ask(setup, replace(chat, cache=replace(chat.cache, max_age_s=-1)), WHO))


async def test_equal_requests_at_once_all_get_it(setup: Setup) -> None:
    answers = await asyncio.gather(*(ask(setup, asking(), WHO) for _ in range(30)))
    assert {"semantic"} == {result(answer) for answer in answers}
    assert 1 == setup.executor.calls


async def test_without_the_classifier_only_equal_requests_are_answered(setup: Setup, embeds: Embeds) -> None:
    embeds.failure = errors.Unavailable("gone")
    assert "miss" == result(await ask(setup, asking(), WHO))
    assert "hit" == result(await ask(setup, asking(FIRST), WHO))


async def test_who_leaves_while_it_is_embedded_lets_the_next_one_go_on(gateways: Gateways) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def hanging(text: str) -> Sequence[float]:
        reached.set()
        await never.wait()
        return []

    one, other = await gateways.start(pending(), embed=hanging), await gateways.start(BODY, REPORT)
    leaving = asyncio.create_task(ask(one, asking(), WHO))
    await reached.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert "miss" == result(await asyncio.wait_for(ask(other, asking(), WHO), 60))
