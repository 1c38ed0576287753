"""Run the ledger: python -m services.gateway.ledger.

It reads usage and decision events from Redis streams and writes PostgreSQL: each attempt once, whatever is delivered
twice, killed or restarted. Any number of ledgers may run; each takes over what a dead one left.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from services.chassis import litellm_environment, process, redis, redis_keys, rpc
from services.chassis.config import Secret, part, reader, variable
from services.chassis.telemetry import Settings as Telemetry
from services.gateway import postgres
from services.gateway.alerts.messenger import FORMATS, TIMEOUT_S, Messenger
from services.gateway.config import alerts
from services.gateway.ledger import key_expiry
from services.gateway.ledger.alert_watch import AlertWatch
from services.gateway.ledger.consumer import BLOCK_MS, Consumer
from services.gateway.ledger.housekeeping import Housekeeping
from services.gateway.ledger.recovery import Recovery
from services.gateway.ledger.retention import Retention
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter

log = logging.getLogger("services.gateway.ledger")


@dataclass(frozen=True)
class Settings:
    """What the ledger needs to know."""

    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    redis_url: Secret = variable("REDIS_URL", doc="address of Redis")
    interval_s: float = variable(
        "LUMNI_LEDGER_INTERVAL_S", 0.2, "shortest time between two batches of a stream"
    )
    takeover_s: float = variable(
        "LUMNI_LEDGER_TAKEOVER_S", 10.0, "after which a silent ledger's entries are taken over"
    )
    grace_s: float = variable(
        "LUMNI_LEDGER_GRACE_S", 60.0, "how long after its deadline an attempt's end is waited for"
    )
    retention_days: int = variable(
        "LUMNI_RETENTION_DAYS", 0, "days after which usage rows are deleted; 0 keeps them"
    )
    learning_days: int = variable(
        "LUMNI_LEARNING_DAYS", 90, "days after which feedback and features are deleted; 0 keeps them"
    )
    alerts_webhook: Secret = variable(
        "LUMNI_ALERTS_WEBHOOK",
        Secret(""),
        "address that alerts are posted to, by the thresholds in lumni.yaml; set it for one ledger; empty is none",
    )
    alerts_format: str = variable("LUMNI_ALERTS_FORMAT", "slack", "what the webhook takes: slack or json")
    config_dir: Path = variable("LUMNI_CONFIG_DIR", Path("config"), "folder of lumni.yaml, for alerts")
    telemetry: Telemetry = part()

    def __post_init__(self) -> None:
        if self.alerts_format not in FORMATS:
            raise ValueError(f"LUMNI_ALERTS_FORMAT: expected {' or '.join(FORMATS)}")
        address = self.alerts_webhook.reveal()
        if address and not address.startswith(("https://", "http://")):
            raise ValueError("LUMNI_ALERTS_WEBHOOK: expected an address that begins with https:// or http://")


async def main(settings: Settings) -> None:
    """Put the parts together and write until stopped."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            postgres.pool(settings.database.reveal(), size=4, timeout_s=30.0)
        )
        client = redis.connect(settings.redis_url.reveal(), timeout_s=BLOCK_MS / 1000 + 2, connections=8)
        stack.push_async_callback(client.aclose)
        store = LedgerStore(pool, grace_s=settings.grace_s)
        watch = await _alert_watch(stack, client, settings)
        writer = LedgerWriter(client, store, watch)
        usage, decisions = (
            Consumer(
                client,
                stream,
                write,
                interval_s=settings.interval_s,
                takeover_s=settings.takeover_s,
            )
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
            learning_days=settings.learning_days,
            hourly=[partial(key_expiry.measure, pool)],
        )
        tasks = [asyncio.create_task(part.run()) for part in (usage, decisions, housekeeping)]
        if watch is not None:
            tasks.append(asyncio.create_task(watch.run(lambda: usage.behind_s)))
        stopped = asyncio.create_task(rpc.until_stopped())
        log.info("the ledger is running")
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.wait([stopped, *tasks])
        for task in done - {stopped}:
            # A part that ended by itself ended by a mistake of ours: the supervisor starts this process again.
            task.result()


async def _alert_watch(stack: AsyncExitStack, client: redis.Redis, settings: Settings) -> AlertWatch | None:
    """What tells operators of trouble; None where they named no webhook."""
    if not settings.alerts_webhook:
        return None
    http = await stack.enter_async_context(httpx.AsyncClient(timeout=TIMEOUT_S))
    messenger = Messenger(http, settings.alerts_webhook.reveal(), settings.alerts_format)
    return AlertWatch(client, messenger, alerts.load(settings.config_dir / "lumni.yaml"))


if __name__ == "__main__":
    process.run("ledger", reader(Settings, litellm_environment.of_gateway), main)
