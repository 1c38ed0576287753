"""What was spent of late, of all that every ledger has written."""

import asyncio
import logging

from services.chassis.outage import Outage
from services.gateway import postgres
from services.gateway.alerts.budget_burn import Spending, Spent
from services.gateway.config.alerts import Thresholds
from services.gateway.config.live import Live

log = logging.getLogger(__name__)

MINUTES_5, MINUTES_30, HOUR = 300, 1800, 3600
# Rows of attempts for the last hour, of which there may be hundreds of thousands; sums by hour for the time before.
READ = f"""
SELECT recent.*, hours.nano_usd, hours.window_s
FROM (
    SELECT coalesce(sum(cost_nano_usd) FILTER (WHERE started_at > now() - interval '{MINUTES_5} s'), 0)::bigint AS m5,
           coalesce(sum(cost_nano_usd) FILTER (WHERE started_at > now() - interval '{MINUTES_30} s'), 0)::bigint AS m30,
           coalesce(sum(cost_nano_usd), 0)::bigint AS h1
    FROM usage_records WHERE started_at > now() - interval '{HOUR} s'
) AS recent, (
    SELECT coalesce(sum(cost_nano_usd), 0)::bigint AS nano_usd,
           extract(epoch FROM now() - date_trunc('hour', now() - interval '6 h'))::float8 AS window_s
    FROM usage_metrics WHERE hour >= date_trunc('hour', now() - interval '6 h')
) AS hours
"""  # noqa: S608  (numbers of ours)


class SpendingWatch:
    """Reads now and then what was spent; while PostgreSQL does not answer, `latest` is what was read last."""

    def __init__(self, pool: postgres.Pool, thresholds: Live[Thresholds]) -> None:
        """Read through `pool`, as often as the thresholds say, while they have a budget."""
        self._pool = pool
        self._thresholds = thresholds
        self.latest: Spending | None = None

    async def run(self) -> None:
        """Read until cancelled."""
        outage = Outage(log, "what was spent of late cannot be read", "what was spent of late can be read")
        while True:
            limits = self._thresholds.current
            try:
                self.latest = None if limits.budget_usd is None else await read(self._pool)
                outage.end()
            except postgres.FAILURES as error:
                outage.begin(error)
            await asyncio.sleep(limits.spending_every_s)


async def read(pool: postgres.Pool) -> Spending:
    """What was spent of late.

    Raises:
        postgres.ERRORS: PostgreSQL does not answer.
    """
    async with postgres.connection(pool) as connection:
        (row,) = await connection.fetch(READ)
    return Spending(
        fast=(Spent(row["m5"], MINUTES_5), Spent(row["h1"], HOUR)),
        slow=(Spent(row["m30"], MINUTES_30), Spent(row["nano_usd"], row["window_s"])),
    )
