"""The whole service, over a real socket and a real Valkey."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import redis.asyncio
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2 as pb
from lumni.selector.v1 import selector_pb2_grpc as pb_grpc

from services.chassis import errors, measured_scores, prices, redis_keys, rpc, status
from services.chassis import redis as chassis_redis
from services.chassis.measured_scores import Measured
from services.local.valkey import Valkey
from services.selector.__main__ import SERVICE
from services.selector.configuration import Configuration
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.health import Health
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.live.replica_sync import ReplicaSync
from services.selector.outcome_learning import OutcomeLearning
from services.selector.ranking.select import Selector
from services.selector.servicer import SelectorServicer

CONFIG = """
model_list:
  - model_name: strong
    litellm_params: {model: anthropic/claude-opus-4-5}
    model_info: {access_groups: [pro]}
  - model_name: quick
    litellm_params: {model: openai/gpt-5-mini}
    model_info: {access_groups: [pro, free]}
  - model_name: gift
    litellm_params: {model: openai/smollm2-135m, api_base: "http://127.0.0.1:1/v1"}
    model_info: {access_groups: [free], input_cost_per_token: 0, output_cost_per_token: 0, max_input_tokens: 4096}
router_settings:
  model_group_alias: {gpt-4: strong}
"""
LUMNI = """
selector:
  catalog:
    gpt-5-mini: {scores: {MMLU-Pro: 60}}
"""


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    (tmp_path / "litellm_config.yaml").write_text(CONFIG)
    (tmp_path / "lumni.yaml").write_text(LUMNI)
    return tmp_path


@asynccontextmanager
async def served(config_dir: Path, redis_url: str = "") -> AsyncIterator[pb_grpc.SelectorServiceStub]:
    configuration = Configuration(config_dir)
    health, powerful_shares, recent = Health(), PowerfulShares(), RecentUsage(3600, spreads=True)
    servicer = SelectorServicer(
        configuration,
        health,
        powerful_shares,
        recent,
        OutcomeLearning(LearnedEvidence(), ExplorationBounds()),
    )
    settings = rpc.Settings(timeout_s=5)
    service = rpc.Service(SERVICE, pb_grpc.add_SelectorServiceServicer_to_server, servicer)
    tasks = [configuration.watch(0.02)]
    async with AsyncExitStack() as stack:
        if redis_url:
            client = chassis_redis.connect(redis_url)
            stack.push_async_callback(client.aclose)
            tasks += [health.refresh(client), ReplicaSync(recent, powerful_shares).refresh(client)]
        for task in tasks:
            stack.push_async_callback(ended, asyncio.create_task(task))
        address = await stack.enter_async_context(rpc.serve("127.0.0.1:0", settings, [service]))
        channel = await stack.enter_async_context(rpc.connect(address, settings, SERVICE, repeatable=True))
        yield pb_grpc.SelectorServiceStub(channel)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def stub(config_dir: Path) -> AsyncIterator[pb_grpc.SelectorServiceStub]:
    async with served(config_dir) as found:
        yield found


def request(rate: float = 0.9, **about: object) -> pb.SelectRequest:
    return pb.SelectRequest(
        **{
            "context": chat_pb2.RequestContext(request_id="r", tenant="t", plan="pro"),
            "classification": classifier_pb2.Classification(
                category=classifier_pb2.CATEGORY_CODE, strong_win_rate=rate, confidence=0.8, version="v1"
            ),
            "requirements": pb.Requirements(prompt_tokens=500, output_tokens=1000),
            **about,
        }  # type: ignore[arg-type]
    )


def models(selection: pb.Selection) -> list[str]:
    return [candidate.model for candidate in selection.candidates]


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; it may be asynchronous."""
    deadline = time.monotonic() + 60
    while True:
        held = condition()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.02)


async def test_a_selection_holds_the_tier_the_reason_and_every_part_of_the_scores(
    stub: pb_grpc.SelectorServiceStub,
) -> None:
    selection = (await stub.Select(request())).selection
    assert classifier_pb2.TIER_POWERFUL == selection.tier
    assert ("balanced", 0.5) == (selection.strategy, selection.threshold)
    assert "strong is best for a powerful code request by balanced" in selection.reason
    best = selection.candidates[0]
    assert ("strong", "anthropic", "claude-opus-4.5") == (best.model, best.provider, best.catalog_id)
    assert best.score == pytest.approx(sum(part.value * part.weight for part in best.parts))
    assert 1 == pytest.approx(sum(part.weight for part in best.parts))
    listing = prices.listing("anthropic", "claude-opus-4-5")
    assert listing is not None
    assert listing.price.bound(500, 1000) == best.max_cost_nano_usd
    first = best.benchmarks[0]
    assert ("LiveCodeBench", False) == (first.name, first.imputed)
    assert first.source.startswith("https://")
    assert chat_pb2.ONLY_ON_ANY == best.only_on


async def test_the_tier_follows_hint_then_policy_then_classifier(
    stub: pb_grpc.SelectorServiceStub,
) -> None:
    async def tier(asked: pb.SelectRequest) -> int:
        return (await stub.Select(asked)).selection.tier

    fast, powerful = classifier_pb2.TIER_FAST, classifier_pb2.TIER_POWERFUL
    assert powerful == await tier(request(0.6))
    assert fast == await tier(request(0.6, policy=pb.Policy(threshold=0.7)))
    assert fast == await tier(request(0.6, policy=pb.Policy(powerful_share=0.0)))
    assert powerful == await tier(request(0.1, policy=pb.Policy(powerful_share=1.0)))
    assert powerful == await tier(request(0.1, policy=pb.Policy(threshold=0.7, tier=powerful)))
    asked = request(0.6)
    asked.classification.tier = fast
    assert fast == await tier(asked)


async def test_without_a_classifier_only_a_policy_that_makes_everything_powerful_does(
    stub: pb_grpc.SelectorServiceStub,
) -> None:
    async def tier(policy: pb.Policy) -> int:
        neutral = classifier_pb2.Classification(strong_win_rate=0.5)
        return (await stub.Select(request(classification=neutral, policy=policy))).selection.tier

    fast, powerful = classifier_pb2.TIER_FAST, classifier_pb2.TIER_POWERFUL
    assert powerful == await tier(pb.Policy(powerful_share=1.0))
    assert powerful == await tier(pb.Policy(threshold=0.0))
    assert fast == await tier(pb.Policy(powerful_share=0.9))
    assert fast == await tier(pb.Policy(threshold=0.1))
    assert fast == await tier(pb.Policy())


@pytest.mark.parametrize("versions", [("v1",), ("v1", "refitted")])
async def test_the_share_holds_for_what_the_classifier_is_unsure_of_and_for_each_of_its_versions(
    stub: pb_grpc.SelectorServiceStub, versions: tuple[str, ...]
) -> None:
    asked = []
    for number in range(200):
        version = versions[number % len(versions)]
        # A question of nothing but a picture has a classification, and no confidence in it.
        one = request(0.2 if version == "v1" else 0.7, policy=pb.Policy(powerful_share=0.8))
        one.classification.confidence, one.classification.version = 0.0, version
        one.context.request_id = str(number)
        asked.append(one)
    response = await stub.BatchSelect(pb.BatchSelectRequest(requests=asked))
    tiers = [one.selection.tier for one in response.results]
    for place in range(len(versions)):
        own = tiers[place :: len(versions)]
        assert 0.8 == pytest.approx(own.count(classifier_pb2.TIER_POWERFUL) / len(own), abs=0.1)


async def test_equal_rates_are_shared_out_by_the_requests_id(stub: pb_grpc.SelectorServiceStub) -> None:
    asked = []
    for number in range(200):
        one = request(0.2034, policy=pb.Policy(powerful_share=0.3))
        one.context.request_id = str(number)
        asked.append(one)
    response = await stub.BatchSelect(pb.BatchSelectRequest(requests=asked))
    tiers = [one.selection.tier for one in response.results]
    assert 30 < tiers.count(classifier_pb2.TIER_POWERFUL) < 90


@pytest.mark.parametrize("field", ["model", "policy.provider", "name", "classification.version"])
async def test_a_name_that_is_too_long_is_refused_by_the_field_that_holds_it(
    stub: pb_grpc.SelectorServiceStub, field: str
) -> None:
    name = "openai." * 10_000
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if field == "name":
            await stub.GetModel(pb.GetModelRequest(name=name))
        elif field == "model":
            await stub.Select(request(model=name))
        elif field == "classification.version":
            await stub.Select(request(classification=classifier_pb2.Classification(version=name)))
        else:
            await stub.Select(request(policy=pb.Policy(provider=name)))
    fault = status.from_rpc(caught.value)
    assert isinstance(fault, errors.Invalid)
    assert fault.message.startswith(f"{field}: expected at most 256")


async def test_a_request_that_meets_a_mistake_of_ours_fails_alone(
    stub: pb_grpc.SelectorServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    select = Selector.select

    def fails_at_quick(
        self: Selector, task: Any, requirements: Any, policy: Any, preferences: Any, *more: Any
    ) -> Any:
        if preferences.model == "quick":
            raise ZeroDivisionError
        return select(self, task, requirements, policy, preferences, *more)

    monkeypatch.setattr(Selector, "select", fails_at_quick)
    batch = pb.BatchSelectRequest(requests=[request(model=name) for name in ("strong", "quick", "strong")])

    results = (await stub.BatchSelect(batch)).results

    assert ["selection", "error", "selection"] == [one.WhichOneof("outcome") for one in results]
    assert grpc.StatusCode.INTERNAL.value[0] == results[1].error.code


async def test_a_batch_answers_each_by_itself(stub: pb_grpc.SelectorServiceStub) -> None:
    good, bad = request(model="gpt-4"), request(model="nobody")
    response = await stub.BatchSelect(pb.BatchSelectRequest(requests=[good, bad, good]))
    assert ["selection", "error", "selection"] == [one.WhichOneof("outcome") for one in response.results]
    assert ["strong"] == models(response.results[0].selection)
    assert "MODEL_NOT_FOUND" == response.results[1].error.reason
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.BatchSelect(pb.BatchSelectRequest(requests=[good] * 257))
    assert isinstance(status.from_rpc(caught.value), errors.Invalid)


async def test_models_are_listed_and_described_as_far_as_one_may_use_them(
    stub: pb_grpc.SelectorServiceStub,
) -> None:
    listed = (await stub.ListModels(pb.ListModelsRequest())).models
    assert ["gift", "quick", "strong"] == [model.name for model in listed]
    free = pb.Policy(access_groups=["free"])
    assert ["gift", "quick"] == [
        model.name for model in (await stub.ListModels(pb.ListModelsRequest(policy=free))).models
    ]
    described = (await stub.GetModel(pb.GetModelRequest(name="gpt-4"))).model
    assert ("strong", "claude-opus-4.5", "anthropic", True) == (
        described.name,
        described.catalog_id,
        described.organization,
        described.available,
    )
    assert ["gpt-4"] == list(described.aliases)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetModel(pb.GetModelRequest(name="strong", policy=free))
    assert isinstance(status.from_rpc(caught.value), errors.NotFound)


async def test_an_operators_score_replaces_the_published_one(stub: pb_grpc.SelectorServiceStub) -> None:
    described = (await stub.GetModel(pb.GetModelRequest(name="quick"))).model
    [score] = [one for one in described.benchmarks if one.name == "MMLU-Pro"]
    assert (60.0, False, 0.0) == (score.score, score.imputed, score.uncertainty)
    assert pb.PUBLISHER_OPERATOR == score.publisher


async def test_every_score_says_who_answers_for_it(stub: pb_grpc.SelectorServiceStub) -> None:
    described = (await stub.GetModel(pb.GetModelRequest(name="strong"))).model

    published = [one for one in described.benchmarks if not one.imputed]
    assert {pb.PUBLISHER_MAKER, pb.PUBLISHER_INDEPENDENT} >= {one.publisher for one in published}
    assert all(one.published >= "2025" and one.uncertainty > 0 for one in published)
    assert {pb.PUBLISHER_UNSPECIFIED} == {one.publisher for one in described.benchmarks if one.imputed}


async def publish(url: str, replica: str, *reports: executor_pb2.DeploymentHealth) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.sadd(redis_keys.HEALTH_REPLICAS, replica)
        await client.delete(redis_keys.health(replica))
        for report in reports:
            await client.hset(redis_keys.health(replica), report.deployment, report.SerializeToString())


def report(
    deployment: str,
    *,
    callable_: bool = True,
    breaker: executor_pb2.BreakerState.ValueType = executor_pb2.BREAKER_STATE_CLOSED,
) -> executor_pb2.DeploymentHealth:
    return executor_pb2.DeploymentHealth(deployment=deployment, callable=callable_, breaker=breaker)


async def test_health_reaches_the_selection_and_its_last_state_survives_redis(
    config_dir: Path, make_valkey: Callable[[], Valkey]
) -> None:
    valkey = make_valkey()
    await valkey.start()
    async with served(config_dir, valkey.url) as stub:

        async def selected() -> list[str]:
            return models((await stub.Select(request())).selection)

        assert "strong" == (await selected())[0]
        await publish(
            valkey.url,
            "one",
            report("strong@anthropic", breaker=executor_pb2.BREAKER_STATE_OPEN),
            report("quick@openai"),
            report("gift@openai", callable_=False),
        )

        async def only_quick() -> bool:
            return ["quick"] == await selected()

        await until(only_quick)
        await valkey.stop()
        for _ in range(20):
            assert ["quick"] == await selected()


async def test_a_used_up_quota_is_whole_again_on_time_while_redis_is_gone(
    config_dir: Path, make_valkey: Callable[[], Valkey]
) -> None:
    valkey = make_valkey()
    await valkey.start()
    async with served(config_dir, valkey.url) as stub:

        async def selected() -> list[str]:
            return models((await stub.Select(request())).selection)

        used_up = report("strong@anthropic")
        used_up.headroom.add(
            limit="rpm", total=10, remaining=0, resets_unix_ms=int((time.time() + 1.5) * 1000)
        )
        await publish(valkey.url, "one", used_up, report("quick@openai"))

        async def only_quick() -> bool:
            return ["quick"] == await selected()

        await until(only_quick)
        await valkey.stop()

        async def both() -> bool:
            return {"strong", "quick"} == set(await selected())

        await until(both)


async def test_replicas_learn_recent_usage_from_each_other(config_dir: Path, valkey: str) -> None:
    async with served(config_dir, valkey) as one, served(config_dir, valkey) as other:

        async def usage() -> float:
            best = (await other.Select(request())).selection.candidates[0]
            return next(part.value for part in best.parts if part.name == "recent_usage")

        before = await usage()
        await asyncio.gather(*(one.Select(request()) for _ in range(100)))

        async def learnt() -> bool:
            return await usage() < min(0.3, before)

        await until(learnt)


async def test_the_way_recent_usage_counts_follows_the_configuration(config_dir: Path) -> None:
    async with served(config_dir) as stub:

        async def usage() -> float:
            stranger = chat_pb2.RequestContext(request_id="r", tenant=uuid4().hex)
            best = (await stub.Select(request(context=stranger))).selection.candidates[0]
            return next(part.value for part in best.parts if part.name == "recent_usage")

        assert 1.0 == await usage()
        (config_dir / "lumni.yaml").write_text("selector: {recent_usage: {prefer: used}}\n")

        async def kept_together() -> bool:
            return 0.0 == await usage()

        await until(kept_together)


async def test_a_changed_configuration_is_taken_up_and_a_broken_one_is_not(config_dir: Path) -> None:
    async with served(config_dir) as stub:

        async def listed() -> list[str]:
            return [model.name for model in (await stub.ListModels(pb.ListModelsRequest())).models]

        (config_dir / "litellm_config.yaml").write_text("model_list: 7\n")
        (config_dir / "litellm_config.yaml").write_text(CONFIG.replace("quick", "swift"))

        async def changed() -> bool:
            return ["gift", "strong", "swift"] == await listed()

        await until(changed)
        (config_dir / "lumni.yaml").write_text("selector: {candidates: none}\n")
        for _ in range(10):
            await asyncio.sleep(0.02)
            assert await changed()


async def test_measured_scores_that_appear_are_taken_up_and_shown(
    config_dir: Path, stub: pb_grpc.SelectorServiceStub
) -> None:
    before = (await stub.Select(request())).selection
    measured = {
        name: {"code": Measured(share, 20, 0.0, 1.0, "2026-11-22")}
        for name, share in (("quick", 1.0), ("strong", 0.05))
    }
    measured_scores.write(config_dir / measured_scores.FILE, measured)

    async def changed() -> bool:
        return models((await stub.Select(request())).selection)[0] == "quick"

    await until(changed)
    after = (await stub.Select(request())).selection
    listed = await stub.GetModel(pb.GetModelRequest(name="quick"))

    assert "strong" == models(before)[0]
    assert "measured here, n = 20" in after.reason
    shown = after.candidates[0].benchmarks[0]
    assert ("measured: code", 100.0, "measured here, n = 20, 2026-11-22") == (
        shown.name,
        shown.score,
        shown.source,
    )
    assert "measured: code" == listed.model.benchmarks[0].name
