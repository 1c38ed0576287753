"""Connections for those who read reports, of which there are few at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis import errors
from services.gateway import postgres

# Who reads reports at the same time, in one process: most connections stay free for looking up keys.
READERS = 2


class Readers:
    """The ledger's tables for reading, with a place for only some readers at a time."""

    def __init__(self, pool: postgres.Pool) -> None:
        """Read through `pool`, which may be a replica's."""
        self._pool = pool
        self._places = asyncio.Semaphore(READERS)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[postgres.Connection]:
        """A connection, waited for as long as a statement may take.

        Raises:
            Unavailable: the database does not answer, or not in time.
        """
        try:
            async with asyncio.timeout(postgres.TIMEOUT_S):
                await self._places.acquire()
            try:
                async with postgres.connection(self._pool) as connection:
                    yield connection
            finally:
                self._places.release()
        except (*postgres.ERRORS, *postgres.CONFLICTS) as error:
            # A replica ends a statement that keeps it from following its primary; that is called a conflict.
            raise errors.Unavailable(
                "usage cannot be read at the moment", reason="USAGE_UNAVAILABLE", retry_after_s=1
            ) from error
