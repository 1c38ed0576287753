"""Run the selector: python -m services.selector."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from lumni.selector.v1.selector_pb2_grpc import add_SelectorServiceServicer_to_server

from services.chassis import redis, rpc, workers
from services.chassis.config import reader
from services.selector.configuration import Configuration
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.health import Health
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.learned_sync import LearnedSync
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.live.replica_sync import ReplicaSync
from services.selector.outcome_learning import OutcomeLearning
from services.selector.servicer import SelectorServicer
from services.selector.settings import Settings

log = logging.getLogger(__name__)

SERVICE = "lumni.selector.v1.SelectorService"
# How long the first call waits for what an executor says of the deployments, in seconds.
FIRST_HEALTH_S = 5.0


async def main(settings: Settings) -> None:
    """Serve until asked to stop."""
    async with serving(settings):
        await rpc.until_stopped()


@asynccontextmanager
async def serving(settings: Settings, inside: rpc.InProcess | None = None) -> AsyncIterator[None]:
    """Put the parts together and serve until the block ends; `inside` as in `rpc.serve`."""
    configuration = Configuration(settings.config_dir)
    chosen = configuration.selector.table.options
    health, powerful_shares = Health(), PowerfulShares()
    recent = RecentUsage(chosen.recent_window_s, spreads=chosen.recent_spreads)
    evidence, bounds = LearnedEvidence(), ExplorationBounds()
    outcomes = OutcomeLearning(evidence, bounds)
    servicer = SelectorServicer(configuration, health, powerful_shares, recent, outcomes)
    # Replays are of many requests at once.
    service = rpc.Service(SERVICE, add_SelectorServiceServicer_to_server, servicer, longest=rpc.MAX_BODY)
    async with AsyncExitStack() as stack:
        tasks = [configuration.watch(settings.reload_s)]
        if settings.redis_url:
            client = redis.connect(settings.redis_url.reveal())
            stack.push_async_callback(client.aclose)
            learned = LearnedSync(evidence, bounds, lambda: configuration.selector.table.options.learning)
            tasks += [
                health.refresh(client),
                ReplicaSync(recent, powerful_shares).refresh(client),
                learned.refresh(client),
            ]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for task in tasks:
            stack.callback(group.create_task(task).cancel)
        # Before, it would select models whose keys are missing.
        if settings.redis_url and not await health.known(FIRST_HEALTH_S):
            log.warning("no executor has published yet; until one does, all deployments are taken to be well")
        address = await stack.enter_async_context(
            rpc.serve(settings.listen, settings.server, [service], inside=inside)
        )
        log.info("selector listening on %s", address)
        yield


if __name__ == "__main__":
    workers.run("selector", reader(Settings), main)
