"""What a request gets from the cache: of equal ones one calls a provider, and the others get its answer for nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from services.chassis import errors, redis, telemetry
from services.gateway.keys.permissions import Caller
from services.gateway.pipeline.pipeline import Answer, Stream
from services.gateway.requests import cache_control, chat_request
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.request_ids import request_id
from tests.gateway.cache.caches import caching
from tests.gateway.conftest import eventually
from tests.gateway.money import caller
from tests.gateway.pipeline.test_pipeline import FINISH, WORD, ScriptedExecutor, Setup, Step, fault, pending

BODY = '{"id":"chatcmpl-1","choices":[{"message":{"content":"391"}}]}'
REPORT = executor_pb2.Report(
    cost_nano_usd=7,
    usage=executor_pb2.Usage(prompt_tokens=9, completion_tokens=3),
    attempts=[
        executor_pb2.Attempt(
            id="r1/1", deployment="small@openai", model="small", provider="openai", cost_nano_usd=7
        )
    ],
)


def request(**more: Any) -> ModelRequest:
    """A deterministic one."""
    body = {"temperature": 0, "messages": [{"role": "user", "content": "What is 17 times 23?"}], **more}
    return chat_request.parse(json.dumps(body))


async def ask(setup: Setup, chat: ModelRequest | None = None, who: Caller | None = None) -> Answer:
    """Ask as a request of its own."""
    telemetry.request_id.set(request_id())
    return await setup.pipeline.complete(who or caller(), chat or request())


async def begin(setup: Setup, chat: ModelRequest) -> Stream:
    """Ask for a stream as a request of its own."""
    telemetry.request_id.set(request_id())
    return await setup.pipeline.stream(caller(), chat)


async def read(setup: Setup, chat: ModelRequest) -> list[str]:
    """The chunks of a stream that is read to its end."""
    return [chunk async for chunk in (await begin(setup, chat)).chunks]


def result(answer: Answer) -> str | None:
    """What the answer says of the cache; its header and its object say the same."""
    said: str | None = json.loads(answer.body)["lumni"].get("cache", {}).get("result")
    assert said == answer.headers.get("x-lumni-cache")
    return said


class Gateways:
    """Gateways over one Valkey."""

    def __init__(self, client: redis.Redis, ends: AsyncExitStack) -> None:
        self._client = client
        self._ends = ends

    async def start(self, *steps: Step, **more: Any) -> Setup:
        """One more, whose provider takes these steps at each call."""
        cache = await self._ends.enter_async_context(caching(self._client, **more))
        return Setup(*steps, cache=cache)


@pytest.fixture
async def gateways(client: redis.Redis) -> AsyncIterator[Gateways]:
    async with AsyncExitStack() as ends:
        yield Gateways(client, ends)


async def until_hit(setup: Setup, chat: ModelRequest | None = None) -> Answer:
    """Ask until the answer is from the cache: it is kept in the background."""
    answers: list[Answer] = []

    async def is_hit() -> bool:
        answers.append(await ask(setup, chat))
        return result(answers[-1]) == "hit"

    await eventually(is_hit)
    return answers[-1]


async def test_an_answer_is_given_again_and_says_so(gateways: Gateways) -> None:
    one, other = await gateways.start(BODY, REPORT), await gateways.start()
    first = await ask(one)
    assert "miss" == result(first)

    again = await until_hit(other)
    lumni = json.loads(again.body)["lumni"]
    assert "391" == json.loads(again.body)["choices"][0]["message"]["content"]
    assert 0 == lumni["cost"]["nano_usd"]
    assert ("small@openai", []) == (lumni["deployment"], lumni["attempts"])
    assert json.loads(first.body)["lumni"]["request_id"] == lumni["cache"]["request_id"]
    assert 7e-9 == lumni["cache"]["saved_usd"]
    assert "0.000000000" == again.headers["x-lumni-cost-usd"]
    assert lumni["cache"]["age_s"] == int(again.headers["age"])
    assert (0, 3) == (again.report.cost_nano_usd, again.report.usage.completion_tokens)
    assert 0 == other.executor.calls


async def test_a_hit_is_admitted_as_a_request_without_tokens_and_told_to_the_ledger(
    gateways: Gateways,
) -> None:
    setup = await gateways.start(BODY, REPORT)
    await ask(setup)
    again = await until_hit(setup)

    event = setup.decisions.usage[-1]
    assert events_pb2.USAGE_KIND_CACHED == event.kind
    assert f"{again.decision.request_id}/1" == event.attempt.id
    assert (0, 7, "hit") == (event.attempt.cost_nano_usd, event.saved_nano_usd, event.cache_result)
    assert ("small@openai", "small", "openai") == (
        event.attempt.deployment,
        event.attempt.model,
        event.attempt.provider,
    )
    assert event.attempt.started_unix_us > 0
    # Nothing was reserved for it that would have to be settled.
    assert setup.executor.calls == len(setup.limits.ends)


def counted(outcome: str) -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "lumni_gateway_requests_total" and sample.labels["outcome"] == outcome
    )


async def test_a_request_that_the_cache_answers_or_its_limits_refuse_is_counted_as_such(
    gateways: Gateways,
) -> None:
    setup = await gateways.start(BODY, REPORT)
    await ask(setup)
    await until_hit(setup)
    outcomes = ("answered", "cached", "failed", "fallback", "left", "refused")
    before = {outcome: counted(outcome) for outcome in outcomes}

    assert "hit" == result(await ask(setup))
    setup.limits._refusal = errors.Exhausted("no requests left", reason="RATE_LIMIT_EXCEEDED")
    with pytest.raises(errors.Exhausted):
        await ask(setup)

    more = {outcome: counted(outcome) - before[outcome] for outcome in outcomes}
    assert {"cached": 1, "refused": 1} == {outcome: count for outcome, count in more.items() if count}


def searches() -> float:
    return REGISTRY.get_sample_value("lumni_gateway_stage_seconds_count", {"stage": "cache"}) or 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_search_is_a_stage_of_the_trace_and_a_hit_says_what_it_took(
    gateways: Gateways, spans: InMemorySpanExporter, stream: bool
) -> None:
    answered = (WORD, FINISH, REPORT) if stream else (BODY, REPORT)
    setup, chat = await gateways.start(*answered), request(stream=stream)

    async def traced() -> str:
        """Ask in a trace of its own; what its stage says of the cache."""
        spans.clear()
        with telemetry.server_span("request", ""):
            await (read(setup, chat) if stream else ask(setup, chat))
        by_name = {span.name: span for span in spans.get_finished_spans()}
        stage, root = by_name["cache"], by_name["request"]
        assert root.context is not None
        assert stage.parent is not None
        assert stage.attributes is not None
        assert root.context.span_id == stage.parent.span_id
        return str(stage.attributes["lumni.cache"])

    before = searches()
    assert "miss" == await traced()

    async def is_hit() -> bool:
        return await traced() == "hit"

    await eventually(is_hit)
    assert searches() - before >= 2
    (whole,) = (span for span in spans.get_finished_spans() if span.name == "request")
    assert {
        "gen_ai.response.model": "small",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 3,
        "lumni.attempts": 0,
        "lumni.cost_nano_usd": 0,
        "lumni.deployment": "small@openai",
    }.items() <= dict(whole.attributes or {}).items()


async def test_what_the_cache_is_not_asked_about_has_no_such_stage(
    gateways: Gateways, spans: InMemorySpanExporter
) -> None:
    setup, before = await gateways.start(BODY, REPORT), searches()
    with telemetry.server_span("request", ""):
        await ask(setup, request(temperature=1))

    assert "cache" not in {span.name for span in spans.get_finished_spans()}
    assert before == searches()


async def test_who_may_ask_nothing_gets_no_cached_answer(gateways: Gateways) -> None:
    setup = await gateways.start(BODY, REPORT)
    await ask(setup)
    await until_hit(setup)
    setup.limits._refusal = errors.Exhausted("no requests left", reason="RATE_LIMIT_EXCEEDED")

    with pytest.raises(errors.Exhausted):
        await ask(setup)
    assert "RATE_LIMIT_EXCEEDED" == setup.decisions.events[-1].refusal


async def test_a_stream_is_given_again_as_a_stream(gateways: Gateways) -> None:
    setup, chat = await gateways.start(WORD, FINISH, REPORT), request(stream=True)
    first = await read(setup, chat)
    again: list[str] = []

    async def is_hit() -> bool:
        again[:] = await read(setup, chat)
        return bool("hit" == json.loads(again[-1])["lumni"]["cache"]["result"])

    await eventually(is_hit)
    assert WORD == first[0] == again[0]
    assert len(first) == len(again) == 2
    assert "stop" == json.loads(again[1])["choices"][0]["finish_reason"]
    # A whole answer is another request.
    assert "hit" != json.loads(first[-1])["lumni"]["cache"]["result"]


@pytest.mark.parametrize(
    "chat",
    [
        request(temperature=0.7),
        request(messages=[{"role": "user", "content": "What is 17 times 24?"}]),
        request(model="large"),
        request(max_completion_tokens=5),
        request(lumni={"task_type": "powerful"}),
        request(stream=False, user="ann"),
    ],
)
async def test_another_request_is_not_answered_by_it(gateways: Gateways, chat: ModelRequest) -> None:
    setup = await gateways.start(BODY, REPORT)
    await ask(setup)
    await until_hit(setup)

    assert result(await ask(setup, chat)) in ("miss", None)


@pytest.mark.parametrize(
    "who",
    [
        replace(caller(), tenant="user:bob"),
        replace(caller(), models=("small",)),
        replace(caller(), plan=replace(caller().plan, name="other")),
        replace(caller(), plan=replace(caller().plan, access_groups=("premium",))),
        replace(caller(), plan=replace(caller().plan, cache_ttl_s=0)),
    ],
)
async def test_another_tenant_or_policy_is_not_answered_by_it(gateways: Gateways, who: Caller) -> None:
    setup = await gateways.start(BODY, REPORT)
    await ask(setup)
    await until_hit(setup)

    assert result(await ask(setup, who=who)) in ("miss", None)


@pytest.mark.parametrize("name", ["litellm_config.yaml", "lumni.yaml", "measured_scores.yaml"])
async def test_a_changed_configuration_begins_anew(gateways: Gateways, tmp_path: Path, name: str) -> None:
    setup = await gateways.start(BODY, REPORT, configuration=tmp_path)
    await ask(setup)
    await until_hit(setup)
    (tmp_path / name).write_text("a: 22")

    assert "miss" == result(await ask(setup))


async def test_wishes_are_kept(gateways: Gateways) -> None:
    setup = await gateways.start(BODY, REPORT)

    def calls() -> int:
        return setup.executor.calls

    # Nobody shares an answer that is not to be kept.
    assert "miss" == result(await ask(setup, request(cache={"no-store": True})))
    assert "miss" == result(await ask(setup))
    await until_hit(setup)
    before = calls()
    assert "hit" == result(await ask(setup, request(cache={"no-store": True})))
    assert before == calls()
    assert "bypass" == result(await ask(setup, request(cache={"no-cache": True})))
    assert "miss" == result(
        await ask(setup, replace(request(), cache=cache_control.CacheControl(max_age_s=-1)))
    )
    assert before + 2 == calls()
    # Another temperature, for who says so.
    warm = request(temperature=1, cache={"use-cache": True})
    assert "miss" == result(await ask(setup, warm))
    await until_hit(setup, warm)
    assert result(await ask(setup, request(temperature=1))) is None


async def test_two_hundred_equal_requests_over_two_gateways_call_the_provider_once(
    gateways: Gateways,
) -> None:
    answered = pending()
    both = [await gateways.start(answered, BODY, REPORT) for _ in range(2)]
    asked = [asyncio.create_task(ask(both[number % 2])) for number in range(200)]

    async def is_called() -> bool:
        return any(one.executor.reached.is_set() for one in both)

    await eventually(is_called)
    answered.set()
    answers = await asyncio.gather(*asked)

    assert 1 == sum(one.executor.calls for one in both)
    results = [result(answer) for answer in answers]
    assert (1, 199) == (results.count("miss"), results.count("hit"))
    assert 199 == sum(len(one.decisions.usage) for one in both)
    assert 7 == sum(answer.report.cost_nano_usd for answer in answers)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_first_caller_who_leaves_leaves_the_others_their_answer(
    gateways: Gateways, stream: bool
) -> None:
    hanging, other = await gateways.start(pending()), await gateways.start(BODY, REPORT)
    first = asyncio.create_task(begin(hanging, request()) if stream else ask(hanging))
    await hanging.executor.reached.wait()
    asked = [asyncio.create_task(ask(other)) for _ in range(5)]
    first.cancel()

    results = sorted(str(result(answer)) for answer in await asyncio.gather(*asked))
    assert ["hit", "hit", "hit", "hit", "miss"] == results
    assert 1 == other.executor.calls


@pytest.mark.parametrize(
    ("selected", "admitted", "again"),
    [
        # A rate of the model, or what is left of a budget, took away the one that would have answered.
        (("large@openai", "small@openai"), ("small@openai",), "miss"),
        # It failed, and so might the one that was taken away have answered.
        (("large@openai", "medium@openai", "small@openai"), ("large@openai", "small@openai"), "miss"),
        (("large@openai", "small@openai"), ("large@openai", "small@openai"), "hit"),
        # What was taken away would not have been asked.
        (("small@openai", "large@openai"), ("small@openai",), "hit"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_only_an_answer_that_all_candidates_would_have_led_to_is_kept(
    gateways: Gateways, selected: tuple[str, ...], admitted: tuple[str, ...], again: str, stream: bool
) -> None:
    setup = await gateways.start(*((WORD, FINISH) if stream else (BODY,)), REPORT)
    setup.decider.deployments = selected
    setup.limits.admitted = admitted

    async def asked() -> str | None:
        if stream:
            last = json.loads((await read(setup, request(stream=True)))[-1])
            return str(last["lumni"]["cache"]["result"])
        return result(await ask(setup))

    assert "miss" == await asked()
    # Who asks next waits until the first answer was kept, or given up.
    assert again == await asked()


async def test_an_error_is_not_cached_and_nobody_waits_for_more_than_two_that_fail(
    gateways: Gateways,
) -> None:
    setup = await gateways.start(fault())
    failures = await asyncio.gather(*(ask(setup) for _ in range(20)), return_exceptions=True)

    assert all(isinstance(failure, errors.Unavailable) for failure in failures)
    assert 20 == setup.executor.calls
    setup.executor = ScriptedExecutor(BODY, REPORT)
    setup.pipeline._executor = setup.executor
    assert "miss" == result(await ask(setup))


async def test_waiting_has_an_end(gateways: Gateways) -> None:
    hanging = await gateways.start(pending())
    other = await gateways.start(BODY, REPORT, wait_s=0.05)
    first = asyncio.create_task(ask(hanging))
    await hanging.executor.reached.wait()

    assert "miss" == result(await ask(other))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_stream_that_is_not_read_to_its_end_is_not_kept(gateways: Gateways) -> None:
    setup, chat = await gateways.start(WORD, FINISH, REPORT), request(stream=True)
    stream = await begin(setup, chat)
    assert WORD == await anext(stream.chunks)
    await stream.chunks.aclose()

    again = await read(setup, chat)
    assert "miss" == json.loads(again[-1])["lumni"]["cache"]["result"]
