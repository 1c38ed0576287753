"""What the executor shows of its deployments, to Redis and to callers who list them."""

import asyncio
from pathlib import Path
from typing import Any

import redis.asyncio as redis
import yaml
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import redis_keys
from tests.executor.service import deployments, executor
from tests.simulator import Simulator


async def published(url: str) -> dict[str, pb.DeploymentHealth]:
    async with redis.from_url(url) as client:
        found: dict[str, pb.DeploymentHealth] = {}
        replicas: Any = await client.smembers(redis_keys.HEALTH_REPLICAS)
        for replica in replicas:
            key = redis_keys.health(replica.decode())
            view: Any = await client.hgetall(key)
            found |= {ident.decode(): pb.DeploymentHealth.FromString(value) for ident, value in view.items()}
        return found


async def test_health_is_published_with_what_calls_have_shown(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("good", "openai/m-sim-limit-9"), ("bad", "openai/m-sim-500")])
    config["model_list"].append(
        {
            "model_name": "keyless",
            "litellm_params": {"model": "openai/m", "api_key": "os.environ/NOT_SET"},
            "model_info": {"id": "keyless", "input_cost_per_token": 0, "output_cost_per_token": 0},
        }
    )
    config["router_settings"]["allowed_fails"] = 0
    async with executor(tmp_path, config, valkey) as caller:
        await caller.ask("good")
        await caller.ask("bad")
        async with asyncio.timeout(60):
            while (view := await published(valkey)).get(
                "bad", pb.DeploymentHealth()
            ).breaker != pb.BREAKER_STATE_OPEN:
                await asyncio.sleep(0.05)
        listed = {
            one.id: one
            for one in (await caller.stub.ListDeployments(pb.ListDeploymentsRequest())).deployments
        }
    good, bad = view["good"], view["bad"]

    assert (good.callable, bad.callable, view["keyless"].callable) == (True, True, False)
    assert good.breaker == pb.BREAKER_STATE_CLOSED
    assert good.latency_ms > 0
    assert bad.error_rate == 1.0
    [headroom] = good.headroom
    # The provider's window is a second long, and whole again after it.
    assert headroom.remaining in (8, 9)
    assert (headroom.limit, headroom.total, headroom.by_provider) == ("rpm", 9, True)
    assert listed["good"].engine == "fast"
    assert listed["bad"].health.breaker == pb.BREAKER_STATE_OPEN
    assert [(one.available, one.last_error) for one in (good, bad, view["keyless"])] == [
        (True, ""),
        (False, "server_error"),
        (False, ""),
    ]
    # A replica that ends deletes its view.
    assert await published(valkey) == {}


async def test_the_names_of_replicas_do_not_pile_up(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    async with redis.from_url(valkey) as client:
        await client.sadd(redis_keys.HEALTH_REPLICAS, "killed", "alive")
        await client.hset(redis_keys.health("alive"), "d", pb.DeploymentHealth().SerializeToString())
        await client.pexpire(redis_keys.health("alive"), 600_000)
        async with executor(tmp_path, deployments(simulator.url, [("one", "openai/m")]), valkey):
            async with asyncio.timeout(60):
                while "one" not in await published(valkey):
                    await asyncio.sleep(0.05)
            seen: Any = await client.smembers(redis_keys.HEALTH_REPLICAS)
            assert b"killed" not in seen
            assert len(seen) == 2
            (own,) = seen - {b"alive"}
            assert await client.pttl(redis_keys.health(own.decode())) <= redis_keys.HEALTH_TTL_MS
        assert await client.smembers(redis_keys.HEALTH_REPLICAS) == {b"alive"}


async def test_a_changed_configuration_changes_when_breakers_open(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("bad", "openai/m-sim-503")])
    async with executor(tmp_path, config, valkey) as caller:
        for _ in range(5):
            assert not (await caller.ask("bad")).report.skips
        config["router_settings"] |= {"allowed_fails": 2, "cooldown_time": 300}
        (tmp_path / "litellm_config.yaml").write_text(yaml.safe_dump(config))
        async with asyncio.timeout(60):
            while not (outcome := await caller.ask("bad")).report.skips:
                await asyncio.sleep(0.05)

    assert [skip.reason for skip in outcome.report.skips] == ["breaker_open"]
    assert outcome.fault is not None
    assert (outcome.fault.retry_after_s or 0) > 200


async def test_an_open_breaker_sends_calls_to_the_next_candidate(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("bad", "openai/m-sim-503"), ("good", "openai/m")])
    config["router_settings"] |= {"allowed_fails": 1, "cooldown_time": 30}
    async with executor(tmp_path, config, valkey) as caller:
        async with asyncio.timeout(60):
            while not (outcome := await caller.ask("bad", "good")).report.skips:
                pass
        before = (await simulator.counts())["models"]["m-sim-503"]["refused"]["requests"]
        for _ in range(5):
            outcome = await caller.ask("bad", "good")
            assert [skip.reason for skip in outcome.report.skips] == ["breaker_open"]
        after = (await simulator.counts())["models"]["m-sim-503"]["refused"]["requests"]

    assert before == after


async def test_requests_beyond_a_deployments_rpm_go_to_the_next_candidate(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("small", "openai/m"), ("large", "openai/n")])
    config["model_list"][0]["litellm_params"]["rpm"] = 2
    async with executor(tmp_path, config, valkey) as caller:
        outcomes = [await caller.ask("small", "large") for _ in range(5)]

    answered = [outcome.report.attempts[-1].deployment for outcome in outcomes]
    # The minute may turn in between.
    assert answered.count("large") in (1, 2, 3)
    assert answered[-1] == "large" or answered.count("small") > 2
    assert all(len(outcome.report.attempts) == 1 for outcome in outcomes)


async def test_an_idle_deployment_is_probed_when_that_is_wanted(
    simulator: Simulator, valkey: str, tmp_path: Path
) -> None:
    models = [("there", "openai/m"), ("gone", "openai/m-sim-404"), ("locked", "openai/m-sim-401")]
    async with executor(tmp_path, deployments(simulator.url, models), valkey, probe_s=0.1) as caller:
        ended = await caller.ended(3)
        listed = {
            one.id: one.health
            for one in (await caller.stub.ListDeployments(pb.ListDeploymentsRequest())).deployments
        }

    assert {(one.attempt.deployment, one.attempt.error_class) for one in ended[:3]} == {
        ("there", ""),
        ("gone", "not_found"),
        ("locked", "authentication"),
    }
    assert {ident: (health.available, health.last_error) for ident, health in listed.items()} == {
        "there": (True, ""),
        "gone": (False, "not_found"),
        "locked": (False, "authentication"),
    }
    assert all(health.callable for health in listed.values())
    assert {one.context.tenant for one in ended} == {"lumni-probe"}
    assert all(one.kind in (events_pb2.USAGE_KIND_FINAL, events_pb2.USAGE_KIND_FAILED) for one in ended)
