"""Records as objects in S3-compatible storage, named and made as the files are (extra `gateway-object-storage`)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from services.chassis.outage import Outage
from services.gateway.recording.delivery import DROPPED, Delivery
from services.gateway.recording.record import Content, Record
from services.gateway.recording.settings import ObjectStorage

log = logging.getLogger(__name__)

# As the metric of dropped records names this destination.
TO = "object_storage"
# The most objects that are written at once.
BATCH = 16
# Longest wait for the storage to take one object, tries included, and between two batches that it does not take, in
# seconds. An answer of 5xx or 429 is tried again so often within that time.
TIMEOUT_S = 10.0
RETRY_S = 2.0
TRIES = 3
# What a write may raise: the storage refuses, is slow or is gone, or there is no such bucket.
ERRORS = (BaseError, OSError, TimeoutError, ValueError)


class ObjectLog:
    """Writes records while it delivers; whoever adds one never waits.

    Args:
        where: The bucket, and whose it is.
        content: What is written of prompts and answers.
        timeout_s: Longest wait for the storage to take one object, in seconds.
    """

    def __init__(self, where: ObjectStorage, content: Content, *, timeout_s: float = TIMEOUT_S) -> None:
        self._store = _store(where, timeout_s)
        self._content = content
        self._timeout_s = timeout_s
        self._delivery = Delivery(TO, self._write, batch=BATCH)
        self._outage = Outage(
            log,
            "request logs are not written to the object storage",
            "request logs are written to the object storage again",
            pause_s=RETRY_S,
        )

    def add(self, record: Record) -> None:
        """Take a record of a request that is over; returns at once."""
        self._delivery.add(record)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Write in the background until the block ends, then what is left within a second."""
        async with self._delivery.delivering():
            yield

    async def _write(self, batch: Sequence[Record]) -> bool:
        results = await asyncio.gather(*(self._put(one) for one in batch))
        failures = [error for error in results if error is not None]
        if len(failures) == len(batch):
            self._outage.begin(failures[0])
            await self._outage.pause()
            # An object that is written twice is the same.
            return False
        # What fails while the storage takes others would fail again.
        DROPPED.labels(TO).inc(len(failures))
        self._outage.end()
        return True

    async def _put(self, record: Record) -> Exception | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                text = await asyncio.to_thread(record.written, self._content)
                await obstore.put_async(
                    self._store, record.name, text, attributes={"Content-Type": "application/json"}
                )
        except ERRORS as error:
            # The library's own text goes on for many lines.
            return ConnectionError(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        return None


def _store(where: ObjectStorage, timeout_s: float) -> S3Store:
    """The bucket; credentials that are left out are those of the environment (AWS_*) or of the machine's role."""
    given: dict[str, Any] = {
        "endpoint": where.endpoint,
        "region": where.region,
        "access_key_id": where.key_id,
        "secret_access_key": where.secret.reveal(),
    }
    lasts = timedelta(seconds=timeout_s)
    return S3Store(
        where.bucket,
        prefix=where.prefix or None,
        client_options={
            "timeout": lasts,
            "connect_timeout": lasts,
            "allow_http": where.endpoint.startswith("http://"),
        },
        retry_config={"max_retries": TRIES - 1, "retry_timeout": lasts},
        **{name: value for name, value in given.items() if value},
    )
