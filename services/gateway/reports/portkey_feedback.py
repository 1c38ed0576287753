"""Verdicts on answers, handed on to Portkey's feedback API (`POST /v1/feedback`) by the id of the answer's trace."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import prometheus_client

from services.chassis.backlog import Backlog
from services.chassis.config import Secret
from services.chassis.outage import Outage

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

# Verdicts that wait to be sent, of some 200 bytes each; the oldest makes room.
MOST_WAITING = 10_000
# The most verdicts of one call; longest wait for its answer, and between two tries, in seconds.
BATCH = 100
TIMEOUT_S = 5.0
RETRY_S = 2.0
# Answers after which the same again may be taken; after all others of 400 and more it would not.
TEMPORARY = frozenset((408, 425, 429, 500, 502, 503, 504))

DROPPED = prometheus_client.Counter(
    "lumni_gateway_dropped_feedback",
    "Verdicts on answers that Portkey did not take, or that found no room while it was gone.",
)


class PortkeyFeedback:
    """Sends verdicts in the background; whoever gives one never waits.

    Args:
        client: Sends them.
        address: Of the feedback API.
        key: Portkey's.
        retry_s: Seconds between two tries.
    """

    def __init__(
        self, client: "httpx.AsyncClient", address: str, key: Secret, *, retry_s: float = RETRY_S
    ) -> None:
        self._client = client
        self._address = address
        self._headers = {"x-portkey-api-key": key.reveal()}
        self._waiting: Backlog[dict[str, Any]] = Backlog(self._send, batch=BATCH, most=MOST_WAITING)
        self._outage = Outage(
            log, "Portkey takes no feedback", "Portkey takes feedback again", pause_s=retry_s
        )

    def give(self, trace_id: str, value: int, metadata: dict[str, str], *, weight: float = 1.0) -> None:
        """Take a verdict, -10 to 10; returns at once."""
        if self._waiting.append(
            {"trace_id": trace_id, "value": value, "weight": weight, "metadata": metadata}
        ):
            DROPPED.inc()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send in the background until the block ends, then what is left within a second."""
        try:
            async with self._waiting.delivering():
                yield
        finally:
            DROPPED.inc(len(self._waiting))

    async def _send(self, batch: Sequence[dict[str, Any]]) -> bool:
        # The module's counter is there in every gateway, its client only where verdicts are sent.
        import httpx

        try:
            # The client's own timeouts are for each part of a call.
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._client.post(self._address, json=list(batch), headers=self._headers)
        except (TimeoutError, httpx.HTTPError) as error:
            return await self._failed(type(error).__name__)
        if answer.status_code in TEMPORARY:
            return await self._failed(f"it answers {answer.status_code}")
        if not answer.is_success:
            log.error("Portkey refused %d verdicts with %d", len(batch), answer.status_code)
            DROPPED.inc(len(batch))
            return True
        self._outage.end()
        return True

    async def _failed(self, why: str) -> bool:
        self._outage.begin(ConnectionError(why))
        await self._outage.pause()
        return False
