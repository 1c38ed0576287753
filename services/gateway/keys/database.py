"""The tables of keys and owners: connections with the errors of this API, and changes that every process learns of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.chassis import errors, redis
from services.gateway import postgres
from services.gateway.keys import changes


class KeyDatabase:
    """PostgreSQL, where keys and owners are kept, and Redis, where their changes are published."""

    def __init__(self, pool: postgres.Pool, client: redis.Redis) -> None:
        self._pool = pool
        self.redis = client

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[postgres.Connection]:
        """A connection.

        Raises:
            Unavailable: PostgreSQL does not answer.
            Invalid: it does not take a value.
        """
        try:
            async with postgres.connection(self._pool) as connection:
                yield connection
        except (*postgres.ERRORS, *postgres.CONFLICTS) as error:
            raise errors.Unavailable(
                "the database cannot be asked at the moment", reason="KEY_STORE_UNAVAILABLE", retry_after_s=1
            ) from error
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise errors.Invalid(
                "a value cannot be stored: a text holds a NUL, or a number is too large"
            ) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[postgres.Connection]:
        """A transaction that no cache needs to know of.

        Raises:
            Unavailable, Invalid: as `connection`.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def change(self, subject: str, *, revoked: bool = False) -> AsyncIterator[postgres.Connection]:
        """A transaction that changes a subject such as `key:ID`; every process learns of it when it is committed.

        Raises:
            Unavailable, Invalid: as `connection`.
        """
        async with self.transaction() as connection:
            yield connection
            await changes.record(connection, subject)
        await changes.publish(self.redis, subject, revoked=revoked)


def found(row: asyncpg.Record | None, ident: str) -> dict[str, Any]:
    """The row that was looked for.

    Raises:
        NotFound: there is none.
    """
    if row is None:
        raise errors.NotFound(f"there is no {ident[:64]!r}")
    return dict(row)
