"""Try the candidates in order until one answers, and account for every attempt on the way.

The rules, in full: a candidate is called as often as the retry table and the number of retries allow, then the
next one is. Until the first chunk of an answer is sent, falling back is invisible; after it there is no going back:
the caller sees a well-formed error, never repeated text, never a silent end. Whatever happens, each attempt has one
`started` record before its provider is called and one record of how it ended.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace

from services.chassis import errors
from services.chassis.candidates import OnlyOn
from services.chassis.deployments import Deployment
from services.executor.attempts import faults
from services.executor.attempts.attempt import SingleAttempt
from services.executor.attempts.model import (
    Attempt,
    AttemptState,
    Candidate,
    Deployments,
    EventSink,
    Gate,
    Permit,
    Report,
    Skip,
    Work,
)
from services.executor.attempts.retry import RULES, RetryPolicy
from services.executor.engines.base import Call, Engine, Progress
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.formats.base import Chunk

# Which candidates an error of this class makes available, beside those for any.
_FALLBACK_CAUSE = {ErrorClass.CONTEXT_LENGTH: OnlyOn.CONTEXT, ErrorClass.CONTENT_POLICY: OnlyOn.POLICY}


class FallbackRun:
    """One call on its way through its candidates. `report` may be read at any time, after a failure too."""

    def __init__(
        self,
        work: Work,
        deployments: Deployments,
        gate: Gate,
        events: EventSink,
        policy: RetryPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._deployments = deployments
        self._gate = gate
        self._events = events
        self._policy = policy
        self._clock = clock
        self._began = clock()
        self._untried = list(work.candidates)
        self._allowed = {OnlyOn.ANY}
        self._failures: list[Failed] = []
        # True once something was sent to the caller: from then on there is no going back.
        self._committed = False
        self._answered = False
        self.report = Report()

    async def chunks(self) -> AsyncGenerator[Chunk]:
        """Yield the answer, or each chunk of it.

        Raises:
            Fault: no candidate gave a whole answer.
        """
        try:
            while (candidate := self._next()) is not None:
                try:
                    async with aclosing(self._try(candidate)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                except Failed as failed:
                    self._failures.append(failed)
                    if self._committed or not RULES[failed.error].fall_back or self._billing_cap_reached():
                        raise self._fault() from failed
                    self._allowed |= {_FALLBACK_CAUSE.get(failed.error, OnlyOn.ANY)}
                if self._answered:
                    return
                if self._clock() >= self._work.deadline:
                    self._failures.append(faults.deadline_passed())
                    break
            self.report.skips += [Skip(candidate.deployment, "not_needed") for candidate in self._untried]
            raise self._fault()
        finally:
            self.report.total_ms = self._elapsed_ms()

    def _next(self) -> Candidate | None:
        """The next candidate that may be tried; those meant for the error that happened come first."""
        fitting = [candidate for candidate in self._untried if candidate.only_on in self._allowed]
        if not fitting:
            return None
        chosen = next((candidate for candidate in fitting if candidate.only_on is not OnlyOn.ANY), fitting[0])
        self._untried.remove(chosen)
        return chosen

    async def _try(self, candidate: Candidate) -> AsyncGenerator[Chunk]:
        """Call one candidate as often as that is worth it.

        Raises:
            Failed: how the last try ended, when there was one.
        """
        found = self._deployments.find(candidate.deployment)
        if found is None:
            self.report.skips.append(Skip(candidate.deployment, "unknown"))
            return
        deployment, engine = found
        try:
            call = self._call(deployment)
        except LookupError:
            self.report.skips.append(Skip(candidate.deployment, "no_key"))
            return
        retries = self._deployments.retries(deployment)
        last: Failed | None = None
        for tries in range(1, retries + 2):
            if tries > 1:
                # A progress of its own: the attempt before it may have been sent.
                call = replace(call, progress=Progress())
            permit = await self._gate.acquire(deployment, self._work.likely_prompt_tokens, self._queue_s())
            if isinstance(permit, Skip):
                self.report.skips.append(permit)
                break
            try:
                with self._attempt(candidate, call, engine, permit) as single:
                    async with aclosing(single.chunks()) as chunks:
                        async for chunk in chunks:
                            if not self._committed:
                                self._commit(call)
                            yield chunk
            except Failed as failed:
                last = failed
            else:
                self._answered = True
                return
            if tries > retries or not await self._may_retry(tries, last):
                break
        if last is not None:
            raise last

    async def _may_retry(self, tries: int, failed: Failed) -> bool:
        """Whether the same deployment is worth another try; returns when it is time for it."""
        if self._committed or not RULES[failed.error].retry or self._billing_cap_reached():
            return False
        others = any(candidate.only_on in self._allowed for candidate in self._untried)
        wait_s = self._policy.before_retry(tries, failed.retry_after_s, others=others)
        if wait_s is None or self._clock() + wait_s >= self._work.deadline:
            return False
        await asyncio.sleep(wait_s)
        return True

    @contextmanager
    def _attempt(
        self, candidate: Candidate, call: Call, engine: Engine, permit: Permit
    ) -> Iterator[SingleAttempt]:
        """One attempt, which is in the report when the block ends."""
        self.report.queue_ms += permit.queue_ms
        begun = Attempt(
            id=f"{self._work.request_id}/{len(self.report.attempts) + 1}",
            deployment=call.deployment,
            max_cost_nano_usd=candidate.max_cost_nano_usd,
            started_unix_us=time.time_ns() // 1000,
        )
        single = SingleAttempt(begun, self._work, call, engine, self._events, self._policy, self._clock)
        try:
            yield single
        finally:
            self.report.provider_ms += single.attempt.duration_ms
            if single.recorded:
                self.report.attempts.append(single.attempt)
            permit.release(single.attempt, single.headers, single.retry_after_s)

    def _commit(self, call: Call) -> None:
        """Note that something goes to the caller."""
        self._committed = True
        if call.stream:
            self.report.first_chunk_ms = self._elapsed_ms()

    def _call(self, deployment: Deployment) -> Call:
        """The call of one deployment.

        Raises:
            LookupError: its key is missing.
        """
        work = self._work
        return Call(
            deployment=deployment,
            key=self._deployments.key(deployment),
            operation=work.operation,
            body=work.body,
            stream=work.stream,
            timeout_s=self._deployments.timeout_s(deployment, stream=work.stream),
            file=work.file,
            audio_ms=work.audio_ms,
            size=work.size,
        )

    def _queue_s(self) -> float:
        return min(self._policy.queue_s, max(0.0, self._work.deadline - self._clock()))

    def _billing_cap_reached(self) -> bool:
        """Whether as many attempts may be billed as the reservation covers; one without a whole answer may be."""
        billed = sum(attempt.state is AttemptState.PARTIAL for attempt in self.report.attempts)
        return 0 < self._work.max_billed_attempts <= billed

    def _fault(self) -> errors.Fault:
        return faults.of_run(self._failures, self.report.skips, committed=self._committed)

    def _elapsed_ms(self) -> float:
        return (self._clock() - self._began) * 1000
