"""One call of a provider: recorded before it begins, read to its end, and recorded with what it cost."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

from services.chassis import errors
from services.executor.attempts import billing, faults
from services.executor.attempts.model import Attempt, EventSink, Work
from services.executor.attempts.repeated_timeout import RepeatedTimeout
from services.executor.attempts.retry import RetryPolicy
from services.executor.bridges import calling
from services.executor.engines.base import Call, Engine, Phase
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.provider_errors import redacted
from services.executor.formats.base import Chunk
from services.executor.formats.factory import response_format

log = logging.getLogger(__name__)


class SingleAttempt:
    """One attempt on its way.

    Attributes:
        attempt: What is known of it; complete once `chunks` has ended or is closed.
        recorded: False only when its start was certainly not recorded; then its end is not recorded either.
        headers: The headers of the provider's response, lower case.
        retry_after_s: Seconds after which the provider wants to be called again; None when it named none.

    """

    def __init__(
        self,
        attempt: Attempt,
        work: Work,
        call: Call,
        engine: Engine,
        events: EventSink,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.attempt = attempt
        self.recorded = True
        self.headers: Mapping[str, str] = {}
        self.retry_after_s: float | None = None
        self._work = work
        self._call = call
        self._engine = engine
        self._events = events
        self._policy = policy
        self._clock = clock
        self._began = clock()
        self._answer = response_format(call.operation, call.deployment.model, call.body, call.audio_ms)
        self._timeout = RepeatedTimeout()

    async def chunks(self) -> AsyncGenerator[Chunk]:
        """Call the provider once; yield its answer, or each chunk of it.

        Raises:
            Failed: anything else than a whole answer.
            Fault: the attempt cannot be recorded, so the provider was not called.
        """
        call, answer = self._call, self._answer
        failed: Failed | None = faults.disconnected()
        try:
            await self._record_start()
            failed = faults.disconnected(billed=True)
            async with aclosing(calling.pieces(self._engine, call)) as pieces:
                first = True
                while True:
                    silence_s, left_s = self._silence_s(first=first), self._work.deadline - self._clock()
                    try:
                        with self._timeout.within(max(0.0, min(silence_s, left_s))):
                            piece = await anext(pieces, None)
                    except TimeoutError:
                        raise self._silent(silence_s, left_s, first=first) from None
                    if piece is None:
                        break
                    first = False
                    self.headers = piece.headers or self.headers
                    for chunk in answer.chunk(piece) if call.stream else (answer.whole(piece),):
                        if call.stream and not self.attempt.first_chunk_ms:
                            self.attempt = replace(self.attempt, first_chunk_ms=self._elapsed_ms())
                        yield chunk
            if not answer.complete:
                raise faults.incomplete(answer)
            self.attempt = billing.whole(self.attempt, call, self._engine, answer)
            failed = None
            for chunk in answer.tail(self.attempt.usage):
                yield chunk
        except Failed as raised:
            failed = raised
            raised.message = redacted(raised.message, call.key)
            raise
        except errors.Fault:
            raise
        except Exception as error:
            log.warning("an attempt at %s failed unforeseen", call.deployment.id, exc_info=True)
            failed = faults.unforeseen(sent=call.progress.sent)
            raise failed from error
        finally:
            self._timeout.close()
            self._record_end(failed)

    async def _record_start(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._work.deadline - self._clock())):
                await self._events.started(self._work, self.attempt)
        except TimeoutError:
            # The record was interrupted and may have been made all the same: it gets its end.
            raise faults.deadline_passed() from None
        except errors.Fault:
            self.recorded = False
            raise

    def _record_end(self, failed: Failed | None) -> None:
        """Never waits: the attempt may be being cancelled."""
        self.attempt = replace(
            self.attempt, duration_ms=self._elapsed_ms(), dropped=self._call.progress.dropped
        )
        if failed is not None:
            # Whatever it was: what was never sent costs nothing.
            failed.billed &= self._call.progress.sent
            self.headers = failed.headers or self.headers
            self.retry_after_s = failed.retry_after_s
            self.attempt = billing.broken(self.attempt, self._call, self._engine, self._answer, failed)
        if self.recorded:
            self._events.ended(self._work, self.attempt)

    def _silence_s(self, *, first: bool) -> float:
        """How long the provider may be silent before the next piece."""
        timeout_s = self._call.timeout_s
        return timeout_s if first else min(self._policy.idle_s, timeout_s)

    def _silent(self, silence_s: float, left_s: float, *, first: bool) -> Failed:
        """Why the attempt ends when the next piece does not come in time."""
        if left_s <= silence_s:
            return faults.deadline_passed(billed=True)
        if self._call.progress.phase is Phase.PREPARING:
            return faults.not_ready(silence_s)
        return Failed(
            ErrorClass.TIMEOUT if first else ErrorClass.CUT,
            f"no answer within {silence_s:g} s" if first else f"silent for {silence_s:g} s",
            billed=True,
        )

    def _elapsed_ms(self) -> float:
        return (self._clock() - self._began) * 1000
