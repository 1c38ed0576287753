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


async def measure(pool: postgres.Pool) -> None:
    """Count them.

    Raises:
        postgres.ERRORS: PostgreSQL does not answer.
    """
    async with postgres.connection(pool) as connection:
        EXPIRING.set(await connection.fetchval(COUNT))
