"""The whole executor over real sockets: a provider, Redis, and callers who disconnect."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import errors
from tests.executor.service import KEY, deployments, executor
from tests.simulator import Simulator

FINAL, PARTIAL, FAILED = (
    events_pb2.USAGE_KIND_FINAL,
    events_pb2.USAGE_KIND_PARTIAL,
    events_pb2.USAGE_KIND_FAILED,
)
ENGINES = ["fast", "general"]
MODELS = [("openai", "openai/model-{}"), ("anthropic", "anthropic/claude-{}"), ("gemini", "gemini/gemini-{}")]


def config_of(simulator: Simulator, behaviour: str = "sim-tokens-16", **params: Any) -> dict[str, Any]:
    return deployments(simulator.url, [(ident, model.format(behaviour)) for ident, model in MODELS], **params)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("provider", [ident for ident, _ in MODELS])
async def test_an_answer_its_bill_and_its_events_agree(
    engine: str, provider: str, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    async with executor(tmp_path, config_of(simulator), valkey, engine=engine) as caller:
        whole = await caller.ask(provider)
        streamed = await caller.ask(provider, stream=True, stream_options={"include_usage": True})
        events = await caller.events(lambda found: len(found) == 4)
        counts = (await simulator.counts())["outcomes"]["answered"]

    assert whole.fault is None
    assert streamed.fault is None
    assert whole.text == streamed.text
    assert whole.answer["model"] == f"public-{provider}"
    assert {chunk["model"] for chunk in streamed.chunks} == {f"public-{provider}"}
    assert streamed.chunks[-1]["choices"] == []
    for outcome in (whole, streamed):
        [attempt] = outcome.report.attempts
        assert attempt.outcome == pb.OUTCOME_SUCCEEDED
        assert (
            outcome.report.cost_nano_usd
            == attempt.usage.prompt_tokens * 1000 + attempt.usage.completion_tokens * 4000
        )
        assert not outcome.report.estimated
    final = [one.attempt.usage for one in events if one.kind == FINAL]
    assert sum(one.prompt_tokens for one in final) == counts["prompt_tokens"]
    assert sum(one.completion_tokens for one in final) == counts["completion_tokens"]
    assert events[0].kind == events_pb2.USAGE_KIND_STARTED
    assert {one.attempt.id for one in events} == {"req-1/1", "req-2/1"}
    assert all(one.context.tenant == "t" for one in events)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", [ident for ident, _ in MODELS])
async def test_a_caller_that_disconnects_closes_the_providers_socket(
    engine: str, stream: bool, provider: str, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    behaviour = "sim-tokens-200-drip-50" if stream else "sim-slow-20000"
    async with executor(tmp_path, config_of(simulator, behaviour), valkey, engine=engine) as caller:
        request = caller.request(provider)
        if stream:
            call = caller.stub.StreamExecute(pb.StreamExecuteRequest(execute=request), timeout=20)
            received = 0
            async for piece in call:
                received += len(piece.chunks.chunk_json)
                if received >= 3:
                    break
            call.cancel()
        else:
            waiting = caller.stub.Execute(request, timeout=20)
            await simulator.until(lambda counts: counts["in_flight"] == 1)
            waiting.cancel()
        await simulator.until(lambda counts: counts["closed_early"] == 1)
        [event] = await caller.ended(1)

    assert event.kind == PARTIAL
    assert event.attempt.error_class == "cancelled"
    assert event.attempt.usage.prompt_tokens > 0
    assert event.attempt.estimated
    if stream:
        assert event.attempt.usage.completion_tokens >= 1
        assert event.attempt.cost_nano_usd < 10**9
    else:
        assert event.attempt.cost_nano_usd == 10**9


async def test_the_next_candidate_answers_for_one_that_failed(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("bad", "openai/bad-sim-500"), ("good", "anthropic/claude-x")])
    async with executor(tmp_path, config, valkey) as caller:
        for stream in (False, True):
            outcome = await caller.ask("bad", "good", stream=stream)
            assert outcome.fault is None
            assert [one.deployment for one in outcome.report.attempts] == ["bad", "good"]
            assert [one.status_code for one in outcome.report.attempts] == [500, 200]
            assert outcome.report.attempts[0].cost_nano_usd == 0
        assert [one.kind for one in await caller.ended(4)] == [FAILED, FINAL, FAILED, FINAL]


async def test_every_fault_carries_the_report(simulator: Simulator, valkey: str, tmp_path: Path) -> None:
    config = deployments(
        simulator.url, [("bad", "openai/bad-sim-503"), ("worse", "openai/bad-sim-429-retry-7")]
    )
    async with executor(tmp_path, config, valkey) as caller:
        for stream in (False, True):
            outcome = await caller.ask("bad", "worse", stream=stream)
            assert isinstance(outcome.fault, errors.Unavailable)
            assert len(outcome.report.attempts) == (2 if not stream else 1)
            assert outcome.report.timing.total_ms > 0


async def test_a_callers_mistake_is_reported_in_the_providers_words(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("bad", "openai/bad-sim-400"), ("good", "openai/model")])
    async with executor(tmp_path, config, valkey) as caller:
        outcome = await caller.ask("bad", "good")

        assert isinstance(outcome.fault, errors.Invalid)
        assert outcome.fault.message == "Invalid value for 'messages'."
        assert outcome.fault.param == "messages"
        assert (await simulator.counts())["requests"] == 1


async def test_no_field_of_a_caller_reaches_the_host_the_key_the_headers_or_the_clock(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    evil = {
        "api_base": "http://127.0.0.1:9/x",
        "base_url": "http://127.0.0.1:9/x",
        "api_key": "sk-stolen",
        "headers": {"x-evil": "1"},
        "extra_headers": {"x-evil": "1"},
        "extra_body": {"api_base": "http://127.0.0.1:9/x", "x_evil": 1},
        "extra_query": {"x-evil": "1"},
        "timeout": 0.0001,
        "request_timeout": 0.0001,
        "mock_response": "mocked",
        "mock_tool_calls": [],
        "mock_timeout": True,
        "mock_delay": 5,
        "custom_llm_provider": "azure",
        "fallbacks": [{"model": "x"}],
        "context_window_fallback_dict": {"x": "y"},
        "model_list": [{"model_name": "x", "litellm_params": {"model": "y"}}],
        "proxy": "http://127.0.0.1:9",
        "organization": "org-evil",
        "deployment_id": "azure-x",
        "azure": True,
        "client": "x",
        "vertex_project": "evil",
        "aws_access_key_id": "evil",
        "cache": {"no-cache": True},
        "caching": True,
        "num_retries": 9,
        "max_retries": 9,
        "drop_params": True,
        "ssl_verify": False,
        "stream_options": {"x_evil": 1},
        "litellm_params": {"api_base": "http://127.0.0.1:9"},
        "litellm_metadata": {"user_api_key": "x"},
        "input_cost_per_token": 0,
        "background": False,
    }
    for engine in ENGINES:
        folder = tmp_path / engine
        folder.mkdir()
        async with executor(folder, config_of(simulator), valkey, engine=engine) as caller:
            for provider, _ in MODELS:
                for name, value in evil.items():
                    outcome = await caller.ask(provider, **cast("Any", {name: value}))
                    assert outcome.fault is None, (engine, provider, name, outcome.fault)
    requests = await simulator.requests(1000)
    assert len(requests) == len(ENGINES) * len(MODELS) * len(evil)
    for one in requests:
        text = json.dumps(one)
        assert "evil" not in json.dumps(one["headers"])
        assert "sk-stolen" not in text
        assert KEY in json.dumps(one["headers"]) or KEY in one["path"]


@pytest.mark.parametrize("engine", ENGINES)
async def test_no_field_of_a_caller_makes_openrouter_call_others(
    engine: str, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    evil = {
        "models": ["openai/o1-pro"],
        "route": "fallback",
        "provider": {"order": ["dear"]},
        "preset": "dear",
        "transforms": ["middle-out"],
    }
    config = deployments(simulator.url, [("free", "openrouter/model:free")])
    async with executor(tmp_path, config, valkey, engine=engine) as caller:
        outcome = await caller.ask("free", min_p=0.1, **cast("Any", evil))
    [sent] = await simulator.requests()

    assert outcome.fault is None
    assert not evil.keys() & sent["body"].keys()
    assert 0.1 == sent["body"]["min_p"]


LISTENING = [
    {"type": "text", "text": "Say what you hear."},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "refusal", "refusal": "no"},
]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_disconnects_leaves_a_record_and_a_free_slot_whatever_it_sent(
    stream: bool, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    model = f"openai/m-sim-{'stall-3' if stream else 'hang'}-nousage"
    config = deployments(simulator.url, [("slow", model)], max_parallel_requests=1)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": True}}}}]
    async with executor(tmp_path, config, valkey) as caller:
        for _ in range(2):
            outcome = await caller.ask(
                "slow",
                stream=stream,
                timeout_s=2,
                messages=[{"role": "user", "content": LISTENING}],
                tools=tools,
            )
            assert isinstance(outcome.fault, errors.TimedOut)
        ends = await caller.ended(2)

    assert [events_pb2.USAGE_KIND_PARTIAL] * 2 == [one.kind for one in ends]
    assert all(one.attempt.usage.prompt_tokens for one in ends)


async def test_the_callers_estimate_counts_against_a_quota_whatever_the_body_holds(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}
    seeing = [{"role": "user", "content": [picture]}]
    config = deployments(simulator.url, [("seeing", "openai/m")])
    # A day's window, as a minute's might turn in between.
    config["model_list"][0]["model_info"]["free_quota"] = {"tpd": 20_000}
    async with executor(tmp_path, config, valkey) as caller:
        first = await caller.ask("seeing")
        small = await caller.ask("seeing", messages=seeing, likely_prompt_tokens=1000)
        large = await caller.ask("seeing", likely_prompt_tokens=30_000)

    assert (None, None) == (first.fault, small.fault)
    assert ["rate_limited"] == [skip.reason for skip in large.report.skips]


async def test_without_an_estimate_the_length_of_the_body_is_one(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("small", "openai/m")])
    config["model_list"][0]["model_info"]["free_quota"] = {"tpd": 20_000}
    async with executor(tmp_path, config, valkey) as caller:
        first = await caller.ask("small", messages=[{"role": "user", "content": "x" * 15_000}])
        second = await caller.ask("small", messages=[{"role": "user", "content": "x" * 90_000}])

    assert first.fault is None
    assert ["rate_limited"] == [skip.reason for skip in second.report.skips]


async def test_a_key_of_ours_is_never_sent_to_a_provider(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    async with executor(
        tmp_path, config_of(simulator), valkey, environ={"SIM_KEY": "sk-lumni-secret"}
    ) as caller:
        outcome = await caller.ask("openai", "anthropic")

        assert isinstance(outcome.fault, errors.Unavailable)
        assert {skip.reason for skip in outcome.report.skips} == {"no_key"}
        assert (await simulator.counts())["requests"] == 0
        listed = (await caller.stub.ListDeployments(pb.ListDeploymentsRequest())).deployments
        assert not any(one.health.callable for one in listed)


async def test_a_secret_appears_in_no_answer_error_event_or_log(
    simulator: Simulator, valkey: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    config = deployments(simulator.url, [("bad", "openai/bad-sim-401"), ("good", "openai/model")])
    async with executor(tmp_path, config, valkey) as caller:
        failed = await caller.ask("bad")
        await caller.ask("bad", "good", stream=True)
        events = await caller.ended(3)
    said = [str(failed.fault), str(failed.report), *map(str, events), caplog.text]

    assert all(KEY not in one for one in said)
    assert "Tell me something short" not in caplog.text


async def test_the_configuration_is_read_again_when_it_changes(
    simulator: Simulator, valkey: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with executor(tmp_path, config_of(simulator), valkey) as caller:

        async def listed() -> list[str]:
            response = await caller.stub.ListDeployments(pb.ListDeploymentsRequest())
            return [one.id for one in response.deployments]

        async def until(wanted: list[str]) -> None:
            async with asyncio.timeout(60):
                while await listed() != wanted:
                    await asyncio.sleep(0.01)

        path = tmp_path / "litellm_config.yaml"
        path.write_text(yaml.safe_dump(deployments(simulator.url, [("new", "openai/model")])))
        await until(["new"])
        assert (await caller.ask("new")).fault is None
        path.write_text("model_list: []\n")
        async with asyncio.timeout(60):
            while "is not used" not in caplog.text:
                await asyncio.sleep(0.01)
        assert await listed() == ["new"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ExecuteRequest(body_json="{"), "body_json"),
        (pb.ExecuteRequest(body_json="[]"), "body_json"),
        (pb.ExecuteRequest(body_json="{}"), "candidates"),
        (pb.ExecuteRequest(body_json="{}", candidates=[pb.Candidate(deployment="x")]), "context.request_id"),
        (
            pb.ExecuteRequest(
                body_json="{}", operation=cast("Any", 99), candidates=[pb.Candidate(deployment="x")]
            ),
            "operation",
        ),
    ],
)
async def test_a_request_that_makes_no_sense_names_its_field(
    request_: pb.ExecuteRequest, field: str, simulator: Simulator, tmp_path: Path
) -> None:
    async with executor(tmp_path, config_of(simulator)) as caller:
        with pytest.raises(Exception, match=field.replace(".", r"\.")):
            await caller.stub.Execute(request_, timeout=60)


async def test_chunks_that_are_ready_at_once_travel_together(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("burst", "openai/model-sim-tokens-200-burst")])
    async with executor(tmp_path, config, valkey) as caller:
        outcome = await caller.ask("burst", stream=True)

    assert len(outcome.chunks) > 200
    assert outcome.messages < 100


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("provider", [ident for ident, _ in MODELS])
async def test_the_chunk_that_ends_a_choice_is_named(
    engine: str, provider: str, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = config_of(simulator, "sim-spaced-burst")
    async with executor(tmp_path, config, valkey, engine=engine) as caller:
        outcome = await caller.ask(provider, stream=True, stream_options={"include_usage": True})

    ends = [
        place
        for place, chunk in enumerate(outcome.chunks)
        if any(choice.get("finish_reason") for choice in chunk["choices"])
    ]
    assert 1 == len(ends)
    assert ends == outcome.finishing


async def test_three_tool_calls_of_two_choices_arrive_whole(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    tools = [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
        for name in ("one", "two", "three")
    ]
    for engine in ENGINES:
        folder = tmp_path / engine
        folder.mkdir()
        async with executor(folder, config_of(simulator), valkey, engine=engine) as caller:
            whole = await caller.ask("openai", tools=tools, n=2)
            streamed = await caller.ask("openai", tools=tools, n=2, stream=True)
        calls: dict[tuple[int, int], list[str]] = {}
        for chunk in streamed.chunks:
            for choice in chunk["choices"]:
                for call in choice["delta"].get("tool_calls") or ():
                    parts = calls.setdefault((choice["index"], call["index"]), ["", ""])
                    parts[0] += call["function"].get("name") or ""
                    parts[1] += call["function"].get("arguments") or ""
        expected = {
            (choice["index"], at): [call["function"]["name"], call["function"]["arguments"]]
            for choice in whole.answer["choices"]
            for at, call in enumerate(choice["message"]["tool_calls"])
        }
        assert len(expected) == 6
        assert calls == expected


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_other_operations_answer_too(
    engine: str, simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    async with executor(tmp_path, config_of(simulator), valkey, engine=engine) as caller:
        embedded = await caller.ask("openai", operation="embeddings", input=["one two", "three"])
        completed = await caller.ask("openai", operation="completions", prompt="Say something")
        responded = await caller.ask("openai", operation="responses", input="Say something")
        messaged = await caller.ask(
            "anthropic", operation="messages", max_tokens=50, messages=[{"role": "user", "content": "Hi you"}]
        )
        streams = [
            await caller.ask("openai", operation="responses", input="Say something", stream=True),
            await caller.ask(
                "anthropic",
                operation="messages",
                max_tokens=50,
                messages=[{"role": "user", "content": "Hi you"}],
                stream=True,
            ),
            await caller.ask("openai", operation="completions", prompt="Say something", stream=True),
        ]
        events = await caller.ended(7)

    assert [embedded.fault, completed.fault, responded.fault, messaged.fault] == [None] * 4
    assert len(embedded.answer["data"]) == 2
    assert completed.answer["choices"][0]["text"]
    assert responded.answer["output"]
    assert messaged.answer["content"][0]["text"]
    assert streams[0].fault is streams[2].fault is None
    assert streams[0].chunks[-1]["type"] == "response.completed"
    if engine == "fast":
        assert streams[1].fault is None
        assert streams[1].chunks[-1]["type"] == "message_stop"
    else:
        assert streams[1].report.attempts[0].error_class == "unsupported"
        events = [one for one in events if one.kind == FINAL]
    assert [one.kind for one in events] == [FINAL] * len(events)
    assert not any(one.attempt.estimated for one in events)
    counts = (await simulator.counts())["outcomes"]["answered"]
    assert sum(one.attempt.usage.prompt_tokens for one in events) == counts["prompt_tokens"]
    assert sum(one.attempt.usage.completion_tokens for one in events) == counts["completion_tokens"]


async def test_parameters_that_a_provider_does_not_know_are_dropped_only_when_that_is_configured(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    for drops in (False, True):
        folder = tmp_path / str(drops)
        folder.mkdir()
        config = config_of(simulator) | {"litellm_settings": {"drop_params": drops}}
        async with executor(folder, config, valkey) as caller:
            outcome = await caller.ask("anthropic", logprobs=True, top_logprobs=2)
            assert (outcome.fault is None) == drops
            if not drops:
                assert isinstance(outcome.fault, errors.Invalid)
                assert outcome.fault.reason == "UNSUPPORTED_PARAMETER"
                assert "logprobs: " in outcome.fault.message
                assert "drop_params" not in outcome.fault.message
            # What the provider cannot do is no reason not to ask another one.
            assert (await caller.ask("anthropic", "openai", logprobs=True)).fault is None


async def test_what_changes_no_answer_is_left_out_by_default_and_named_in_the_report(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    harmless: dict[str, Any] = {
        "seed": 7,
        "prompt_cache_key": "k",
        "user": "u",
        "metadata": {"a": "b"},
        "made_up": 1,
    }
    for engine in ENGINES:
        folder = tmp_path / engine
        folder.mkdir()
        async with executor(folder, config_of(simulator), valkey, engine=engine) as caller:
            for streamed in (False, True):
                outcome = await caller.ask("anthropic", stream=streamed, **harmless)
                assert outcome.fault is None, outcome.fault
                (attempt,) = outcome.report.attempts
                assert {"seed", "prompt_cache_key", "metadata", "made_up"} == set(attempt.dropped)
    bodies = [one["body"] for one in await simulator.requests()]

    assert 4 == len(bodies)
    assert not any({"seed", "prompt_cache_key", "made_up"} & body.keys() for body in bodies)


async def test_a_deployments_own_parameters_are_defaults(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    for engine in ENGINES:
        folder = tmp_path / engine
        folder.mkdir()
        config = config_of(simulator, temperature=0.7, extra_headers={"x-team": "blue"})
        async with executor(folder, config, valkey, engine=engine) as caller:
            await caller.ask("openai")
            await caller.ask("openai", temperature=0.1)
    requests = await simulator.requests()

    assert [one["body"]["temperature"] for one in requests] == [0.7, 0.1, 0.7, 0.1]
    assert {one["headers"].get("x-team") for one in requests} == {"blue"}
