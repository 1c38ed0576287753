"""Run the executor: python -m services.executor."""

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from lumni.executor.v1 import executor_pb2_grpc

from services.chassis import (
    configured_environment,
    money,
    redis,
    redis_keys,
    rpc,
    stream_partitions,
    telemetry,
    workers,
)
from services.chassis.background import beside
from services.chassis.config import reader
from services.chassis.deployments import Deployment
from services.executor.attempts.model import Work
from services.executor.attempts.retry import RetryPolicy
from services.executor.attempts.run import FallbackRun
from services.executor.capacity.breaker import Breakers, Thresholds
from services.executor.capacity.daily_budget import DailyBudget
from services.executor.capacity.gate import CapacityGate
from services.executor.capacity.health import Health
from services.executor.capacity.prober import Prober
from services.executor.capacity.redis_state import RedisBreakerStore, RedisGuard, RedisQuotaCounter
from services.executor.engines.base import Engine
from services.executor.engines.directory import Directory, Keys
from services.executor.engines.proxies import Proxies
from services.executor.environment import adopt, seclude
from services.executor.events.observer import Observer
from services.executor.events.outbox import Outbox
from services.executor.servicer import ExecutorServicer
from services.executor.settings import Settings

if TYPE_CHECKING:
    from services.executor.engines.direct import DirectEngine
    from services.executor.engines.litellm_sdk import LiteLLMEngine

log = logging.getLogger(__name__)

SERVICE = "lumni.executor.v1.ExecutorService"
# Bytes of one message: a body, whose numbers may be written longer than the caller wrote them, and its candidates.
LONGEST = rpc.MAX_BODY + 4 * 2**20


async def main(settings: Settings) -> None:
    """Serve until stopped."""
    async with serving(settings):
        await rpc.until_stopped()


@asynccontextmanager
async def serving(
    settings: Settings,
    inside: rpc.InProcess | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[str]:
    """Put the parts together and serve until the block ends; yields the bound address.

    Args:
        settings: What the service needs to know.
        inside: As in `rpc.serve`.
        environ: Where provider keys and addresses are; else they are taken out of the process's environment.

    """
    if environ is None:
        file = settings.config_dir / "litellm_config.yaml"
        environ = configured_environment.variables(file, seclude(os.environ))
        adopt(os.environ, environ)
    # LiteLLM takes seconds to import: a mistake in the settings is reported before that. The garbage collector would
    # take a sixth of them, and finds nothing in what stays.
    gc.disable()
    try:
        from services.executor.engines.direct import DirectEngine, serves
        from services.executor.engines.images import Images
        from services.executor.engines.litellm_sdk import LiteLLMEngine
        from services.executor.engines.prepare import Preparer
    finally:
        gc.enable()

    async with AsyncExitStack() as stack:
        client = redis.connect(settings.redis_url, timeout_s=0.25) if settings.redis_url else None
        if client is not None:
            stack.push_async_callback(client.aclose)
        replica = telemetry.replica()
        guard = RedisGuard(client)
        proxies = Proxies()
        preparer = Preparer(environ, Images(held_together=settings.pictures_mib * 2**20))
        stack.push_async_callback(preparer.aclose)
        litellm_engine = LiteLLMEngine(proxies, preparer)
        stack.push_async_callback(litellm_engine.aclose)
        direct_engine = DirectEngine(proxies, preparer, litellm_engine)
        stack.push_async_callback(direct_engine.aclose)

        def engine_for(deployment: Deployment) -> Engine:
            is_direct = settings.engine == direct_engine.name and serves(deployment)
            return direct_engine if is_direct else litellm_engine

        directory = Directory(settings.config_dir / "litellm_config.yaml", Keys(environ), engine_for)
        await _warm_up(directory, litellm_engine, direct_engine)

        def thresholds() -> Thresholds:
            return Thresholds(
                allowed_fails=directory.fleet.allowed_fails,
                cooldown_s=directory.fleet.cooldown_s,
                share=settings.breaker_share,
                window_s=settings.breaker_window_s,
            )

        breakers = Breakers(RedisBreakerStore(guard, replica), thresholds)
        gate = CapacityGate(breakers, RedisQuotaCounter(guard), queue=settings.queue)
        stream = stream_partitions.own(redis_keys.USAGE_STREAM, settings.partitions, replica)
        outbox = Outbox(client, settings.state_dir, stream)
        observer = Observer(outbox)
        health = Health(directory, gate, replica)
        policy = RetryPolicy(
            first_s=settings.first_backoff_s, longest_s=settings.longest_backoff_s, idle_s=settings.idle_s
        )

        def start(work: Work) -> FallbackRun:
            return FallbackRun(work, directory, gate, observer, policy)

        budget = DailyBudget(round(settings.probe_usd * money.NANO))
        prober = Prober(directory, gate, start, settings.probe_s, budget)
        for task in (
            outbox.run(),
            health.publish(guard),
            directory.watch(settings.reload_s),
            _sync(breakers),
            *([prober.run()] if settings.probe_s else []),
        ):
            await stack.enter_async_context(beside(task))
        servicer = ExecutorServicer(start, health.listed)
        service = rpc.Service(
            SERVICE,
            executor_pb2_grpc.add_ExecutorServiceServicer_to_server,
            servicer,
            longest=LONGEST,
        )
        yield await stack.enter_async_context(
            rpc.serve(settings.listen, settings.server, [service], inside=inside)
        )


async def _warm_up(
    directory: Directory, litellm_engine: "LiteLLMEngine", direct_engine: "DirectEngine"
) -> None:
    """Load what LiteLLM loads late before the first caller waits for it.

    Its entry point loads some 600 modules, so that is tried only for providers some of whose calls go there.
    """
    one_each: dict[tuple[str, ...], Deployment] = {}
    for deployment in directory.fleet.deployments:
        one_each.setdefault((deployment.provider, deployment.litellm_model, deployment.mode), deployment)
    through_litellm: dict[str, Deployment] = {}
    for deployment in one_each.values():
        _, engine = directory.find(deployment.id) or (None, litellm_engine)
        if engine is not direct_engine or not await direct_engine.warm_up(deployment):
            through_litellm.setdefault(deployment.provider, deployment)
    for deployment in through_litellm.values():
        await litellm_engine.warm_up(deployment)


async def _sync(breakers: Breakers) -> None:
    while True:
        await breakers.sync()
        await asyncio.sleep(0.25)


if __name__ == "__main__":
    workers.run("executor", reader(Settings), main)
