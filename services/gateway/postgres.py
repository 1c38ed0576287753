"""PostgreSQL, with a bounded pool and a deadline on everything."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import prometheus_client

from services.chassis import measuring

__all__ = ["CONFLICTS", "ERRORS", "FAILURES", "TIMEOUT_S", "Connection", "Pool", "connection", "pool"]

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# Longest wait for a connection, for a statement, and for a lock, in seconds.
TIMEOUT_S = 2.0

# Prepared statements that a connection keeps.
STATEMENTS = 100

# What a call may raise when PostgreSQL is gone, restarting, full or slow: the data is not at fault.
ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # A connection that broke in the middle of a COPY says this when it is given back.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InternalServerError,
)
# All that a call may raise, for work that is tried again and again whatever PostgreSQL says.
FAILURES = (*ERRORS, asyncpg.PostgresError)
# What two transactions in each other's way raise: the same again will do.
CONFLICTS = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)


BUSY = prometheus_client.Gauge(
    "lumni_postgres_connections_busy",
    "Connections to PostgreSQL that are in use.",
    multiprocess_mode="livesum",
)
MOST = prometheus_client.Gauge(
    "lumni_postgres_connections_limit",
    "The most connections to PostgreSQL that may be in use.",
    multiprocess_mode="livesum",
)


async def _prepare(connection: asyncpg.Connection) -> None:
    # In its binary form (a version byte, then text), so that COPY takes it too.
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + json.dumps(value).encode(),
        decoder=lambda value: json.loads(value[1:]),
        schema="pg_catalog",
        format="binary",
    )


@asynccontextmanager
async def pool(
    url: str,
    *,
    size: int = 8,
    timeout_s: float = TIMEOUT_S,
    measured: bool = True,
    transaction_pooler: bool = False,
) -> AsyncIterator[Pool]:
    """Connect lazily: a process starts, and stays, while PostgreSQL is away.

    Args:
        url: DATABASE_URL.
        size: The most connections this process ever holds; the server needs room for all processes' together.
        timeout_s: Longest wait for a statement or a new connection.
        measured: Whether the metrics show this pool; they show one of a process.
        transaction_pooler: Whether a pooler is at that address which gives each transaction another connection. Nothing
            outlives a transaction then: no prepared statement, and no setting, so that the server's own deadlines are
            those of its role.
    """
    milliseconds = str(int(timeout_s * 1000))
    deadlines = {
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": str(int(timeout_s * 5000)),
    }
    made = asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        timeout=timeout_s,
        command_timeout=timeout_s,
        max_inactive_connection_lifetime=60,
        init=_prepare,
        server_settings={
            **({} if transaction_pooler else deadlines),
            "application_name": "lumni",
            "timezone": "UTC",
        },
        statement_cache_size=0 if transaction_pooler else STATEMENTS,
    )
    await made
    if measured:
        measuring.follow(BUSY, lambda: made.get_size() - made.get_idle_size())
        measuring.follow(MOST, made.get_max_size)
    try:
        yield made
    finally:
        try:
            async with asyncio.timeout(timeout_s):
                await made.close()
        except TimeoutError:
            made.terminate()


def share_busy(pool: Pool) -> float:
    """The share of the connections that a pool may hold which is in use, 0 to 1."""
    return (pool.get_size() - pool.get_idle_size()) / pool.get_max_size()


@asynccontextmanager
async def connection(pool: Pool, *, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Connection]:
    """A connection, waited for at most `timeout_s`."""
    async with pool.acquire(timeout=timeout_s) as one:
        yield one
