"""Settlements: reservations replaced by what the attempts of a request did cost, in the background."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import prometheus_client
from opentelemetry.trace import Span

from services.chassis import measuring, redis, stages
from services.chassis.backlog import Backlog
from services.gateway.limits import scripts
from services.gateway.limits.probe import Probe

log = logging.getLogger(__name__)

# The grace of a request whose caller is gone, in seconds: its executor was cancelled, and stops at once.
ABANDONED_S = 10.0
# How long a settlement is tried before it is left to the ledger, in seconds.
GIVE_UP_S = 300.0
# Requests that one round trip settles; Redis does nothing else meanwhile.
BATCH = 100

UNSETTLED = prometheus_client.Counter(
    "lumni_gateway_unsettled_requests", "Settlements that were left to the ledger."
)


WAITING = prometheus_client.Gauge(
    "lumni_gateway_waiting_settlements",
    "Settlements that Redis does not have yet.",
    multiprocess_mode="livesum",
)


class Attempt(Protocol):
    """What a settlement needs to know of an attempt; `lumni.executor.v1.Attempt` fits."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def cost_nano_usd(self) -> int: ...  # noqa: D102


class Tokens(Protocol):
    """What a request consumed; `lumni.executor.v1.Usage` fits."""

    @property
    def prompt_tokens(self) -> int: ...  # noqa: D102
    @property
    def completion_tokens(self) -> int: ...  # noqa: D102


class Report(Protocol):
    """The bill of a request; `lumni.executor.v1.Report` fits."""

    @property
    def attempts(self) -> Sequence[Attempt]: ...  # noqa: D102
    @property
    def usage(self) -> Tokens: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Pending:
    """A settlement that its partition does not have yet, until when it is tried, and its span, which ends with it."""

    part: str
    argument: Mapping[str, Any]
    give_up: float
    span: Span


class Settlements:
    """What Redis does not take in time is left to the ledger, which learns the same from events."""

    def __init__(self, client: redis.Redis, probe: Probe, grace_s: float) -> None:
        """Settle through `client` while `probe` says that it counts.

        Args:
            client: Short deadlines are its connection's business.
            probe: Learns of failures, and knows when to go on.
            grace_s: How long after the end of a request its events may arrive.
        """
        self._redis = client
        self._probe = probe
        self._abandoned_ms = int(min(ABANDONED_S, grace_s) * 1000)
        self._pending: Backlog[_Pending] = Backlog(self._deliver, batch=BATCH)
        # How many of the last in the backlog were put there again, since something else was sent.
        self._behind = 0
        measuring.follow(WAITING, lambda: len(self._pending))

    def settle(self, part: str, request_id: str, report: Report) -> None:
        """Replace a reservation in a partition by what the attempts cost; returns at once."""
        self._append(
            part,
            request_id,
            tokens=report.usage.prompt_tokens + report.usage.completion_tokens,
            attempts=[[one.id.rpartition("/")[2], one.cost_nano_usd, one.model] for one in report.attempts],
        )

    def abandon(self, part: str, request_id: str) -> None:
        """Give the parallel slots back and leave the money to the ledger; returns at once."""
        self._append(part, request_id, abandoned_ms=self._abandoned_ms)

    def _append(self, part: str, request_id: str, **outcome: Any) -> None:
        argument = {"request": request_id, **outcome}
        self._pending.append(_Pending(part, argument, time.monotonic() + GIVE_UP_S, stages.begin("settle")))

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Settle in the background until the block ends, then what is left within a second."""
        try:
            async with self._pending.delivering():
                yield
        finally:
            UNSETTLED.inc(len(self._pending))

    async def _deliver(self, batch: Sequence[_Pending]) -> bool:
        """Send what is for partitions that answer; the others' settlements, and what fails now, go behind the rest."""
        if self._behind >= len(self._pending):
            await self._probe.pause()
            self._behind = 0
        again: list[_Pending] = []
        due: list[_Pending] = []
        for one in batch:
            (again if self._probe.down(one.part) else due).append(one)
        if due:
            self._behind = 0
            again += await self._send(due)
        else:
            # A long row of them must not keep the process from its requests.
            await asyncio.sleep(0)
        now = time.monotonic()
        for one in again:
            if one.give_up > now:
                self._pending.append(one)
                self._behind += 1
            else:
                self._leave(one, "timeout")
        return True

    async def _send(self, due: Sequence[_Pending]) -> list[_Pending]:
        """Settle, in one round trip; returns what is to be tried again."""
        try:
            answers = await scripts.run_all(
                scripts.SETTLE, self._redis, [(one.part, one.argument) for one in due]
            )
        except redis.ERRORS as error:
            # The only server does not answer, or the one of a cluster that has all of these.
            for one in due:
                self._probe.failed(one.part, error)
            return list(due)
        except Exception as error:  # noqa: BLE001  (a mistake of ours must not end all settling)
            answers = [error] * len(due)
        again = []
        for one, answer in zip(due, answers, strict=True):
            if redis.is_passing(answer):
                self._probe.failed(one.part, answer)
                again.append(one)
            elif isinstance(answer, Exception):
                self._leave(one, type(answer).__name__)
                log.error("a settlement was left to the ledger: %s", answer)
            else:
                one.span.end()
        return again

    def _leave(self, one: _Pending, reason: str) -> None:
        """Leave a settlement to the ledger."""
        stages.fail(one.span, reason)
        one.span.end()
        UNSETTLED.inc()
