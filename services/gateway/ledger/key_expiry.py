"""How many virtual keys expire soon."""

import prometheus_client

from services.gateway import postgres

# Soon is within so many days.
DAYS = 7

EXPIRING = prometheus_client.Gauge(
    "lumni_keys_expiring",
    "Virtual keys, not revoked, that expire within a week.",
    multiprocess_mode="max",
)
COUNT = f"""
SELECT count(*) FROM virtual_keys
WHERE revoked_at IS NULL AND expires_at BETWEEN now() AND now() + interval '{DAYS} days'
"""  # noqa: S608  (a number of ours)


class KeyExpiry:
    """Counts them when it is told to; `count` is what it found last."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool
        self.count = 0

    async def measure(self) -> None:
        """Count them.

        Raises:
            postgres.ERRORS: PostgreSQL does not answer.
        """
        async with postgres.connection(self._pool) as connection:
            self.count = await connection.fetchval(COUNT)
        EXPIRING.set(self.count)
