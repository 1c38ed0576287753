"""Run the ledger: python -m services.gateway.ledger.

It reads usage and decision events from Redis streams and writes PostgreSQL: each attempt once, whatever is delivered
twice, killed or restarted. Any number of ledgers may run; each takes over what a dead one left.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial

import httpx

from services.chassis import (
    configured_environment,
    process,
    redis,
    redis_keys,
    rpc,
    stream_partitions,
)
from services.chassis.background import beside
from services.chassis.config import reader
from services.gateway import postgres
from services.gateway.alerts.messenger import TIMEOUT_S, Messenger
from services.gateway.experiments.guard import Guard
from services.gateway.experiments.store import ExperimentStore
from services.gateway.keys.database import KeyDatabase
from services.gateway.learning.learner import Learner
from services.gateway.ledger.alert_configuration import AlertConfiguration
from services.gateway.ledger.alert_watch import AlertWatch, LedgerFacts
from services.gateway.ledger.consumer import BLOCK_MS, Consumer
from services.gateway.ledger.housekeeping import Housekeeping
from services.gateway.ledger.key_expiry import KeyExpiry
from services.gateway.ledger.recent_spending import SpendingWatch
from services.gateway.ledger.recovery import Recovery
from services.gateway.ledger.retention import Retention
from services.gateway.ledger.settings import Settings
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter

log = logging.getLogger("services.gateway.ledger")


async def main(settings: Settings) -> None:
    """Put the parts together and write until stopped."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            postgres.pool(settings.database.reveal(), size=3 + settings.partitions, timeout_s=30.0)
        )
        # A read of each partition blocks a connection; the same number is for what they write.
        client = redis.connect(
            settings.redis_url.reveal(),
            timeout_s=BLOCK_MS / 1000 + 2,
            connections=4 + 4 * settings.partitions,
        )
        stack.push_async_callback(client.aclose)
        store = LedgerStore(pool, grace_s=settings.grace_s)
        expiry = KeyExpiry(pool)
        watch = await _alert_watch(stack, client, pool, expiry, settings)
        writer = LedgerWriter(client, store, watch)
        usage, decisions = (
            [
                Consumer(
                    client,
                    part,
                    write,
                    interval_s=settings.interval_s,
                    takeover_s=settings.takeover_s,
                )
                for part in stream_partitions.all_of(stream, settings.partitions)
            ]
            for stream, write in (
                (redis_keys.USAGE_STREAM, writer.usage),
                (redis_keys.DECISION_STREAM, writer.decisions),
            )
        )
        housekeeping = Housekeeping(
            Retention(pool),
            Recovery(client, store, writer),
            usage,
            decisions,
            retention_days=settings.retention_days,
            learnt_days=settings.learnt_days,
            hourly=[expiry.measure],
        )
        guard = Guard(pool, ExperimentStore(KeyDatabase(pool, client)))
        consumers = [asyncio.create_task(one.run()) for one in (*usage, *decisions)]
        learner = Learner(pool, client, kept_days=settings.learnt_days)
        tasks = [*consumers, *(asyncio.create_task(part.run()) for part in (housekeeping, guard, learner))]
        if watch is not None:
            tasks.append(asyncio.create_task(watch.run(lambda: max(one.behind_s for one in usage))))
        stopped = asyncio.create_task(rpc.until_stopped())
        log.info("the ledger is running")
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.wait([stopped, *tasks])
        for task in done - {stopped}:
            # A part that ended by itself ended by a mistake of ours: the supervisor starts this process again.
            task.result()


async def _alert_watch(
    stack: AsyncExitStack,
    client: redis.Redis,
    pool: postgres.Pool,
    expiry: KeyExpiry,
    settings: Settings,
) -> AlertWatch | None:
    """What tells operators of trouble; None where they named no webhook."""
    if not settings.alerts_webhook:
        return None
    http = await stack.enter_async_context(httpx.AsyncClient(timeout=TIMEOUT_S))
    messenger = Messenger(http, settings.alerts_webhook.reveal(), settings.alerts_format)
    configuration = AlertConfiguration(settings.config_dir)
    spending = SpendingWatch(pool, configuration.thresholds)
    await stack.enter_async_context(beside(spending.run()))
    await stack.enter_async_context(beside(configuration.watch(settings.reload_s)))
    own = LedgerFacts(
        keys_expiring=lambda: expiry.count,
        pool_share=partial(postgres.share_busy, pool),
        spending=spending,
    )
    return AlertWatch(client, messenger, configuration.thresholds, configuration.providers, own)


if __name__ == "__main__":
    process.run("ledger", reader(Settings, configured_environment.of_gateway), main)
