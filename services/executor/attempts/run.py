"""Walk the candidates until one answers, and account for every attempt on the way.

The rules, in full: a candidate is tried as often as the table of outcomes and the number of retries allow, then the
next one is. Until the first piece of an answer has left, failing over is invisible; after it there is no going back:
the caller sees a well-formed error, never repeated text, never a silent end. Whatever happens, each attempt leaves one
`started` record before its provider is called and one record of how it ended.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from services.chassis import errors
from services.chassis.deployments import Deployment
from services.executor.attempts.retry import RULES
from services.executor.engines.base import Call, Engine, Operation, Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.provider_errors import redacted
from services.executor.engines.usage import Usage
from services.executor.formats import answers

log = logging.getLogger(__name__)

NOTHING = Usage()
# Providers whose models reason unasked and show nothing of it in a stream.
HIDING = frozenset(("openai", "azure", "gemini", "vertex_ai", "xai"))


class OnlyOn(StrEnum):
    """When a candidate may be tried."""

    ANY = "any"
    CONTEXT = "context"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment that may be tried, as admitted; the bound is of one attempt."""

    deployment: str
    only_on: OnlyOn = OnlyOn.ANY
    max_cost_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A call to make.

    Args:
        request_id: Attempts are numbered under it.
        operation: The kind of call.
        body: What the caller sent, without what is not the provider's business.
        stream: Whether pieces are wanted as they come.
        candidates: Tried in this order.
        deadline: When the caller stops waiting, on the monotonic clock.
        prompt_bound: An upper bound of the prompt, in tokens, for the limits.
        most_billed: How many attempts may cost something; 0 is no bound.
        tag: What the books want to know of the request; nothing here looks at it.

    """

    request_id: str
    operation: Operation
    body: Mapping[str, Any] = field(repr=False)
    stream: bool
    candidates: Sequence[Candidate]
    deadline: float
    prompt_bound: int = 0
    most_billed: int = 0
    tag: object = None


class Kind(StrEnum):
    """What is known of an attempt's tokens."""

    STARTED = "started"
    FINAL = "final"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a provider; `partial` costs are upper bounds, `failed` ones cost nothing."""

    id: str
    deployment: Deployment
    max_cost_nano_usd: int
    started_unix_us: int
    kind: Kind = Kind.STARTED
    error: ErrorClass | None = None
    status_code: int = 0
    usage: Usage = NOTHING
    cost_nano_usd: int = 0
    duration_ms: float = 0.0
    first_chunk_ms: float = 0.0
    estimated: bool = False
    message: str = ""
    # A whole answer came; one without reported tokens is estimated, but it is whole.
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """A candidate that was passed over."""

    deployment: str
    reason: str
    retry_after_s: float | None = None


@dataclass(slots=True)
class Report:
    """What a call took; grows while it runs."""

    attempts: list[Attempt] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    total_ms: float = 0.0
    provider_ms: float = 0.0
    first_chunk_ms: float = 0.0
    queue_ms: float = 0.0

    @property
    def usage(self) -> Usage:
        """The sum over the attempts."""
        return sum((attempt.usage for attempt in self.attempts), Usage())

    @property
    def cost_nano_usd(self) -> int:
        """The sum over the attempts."""
        return sum(attempt.cost_nano_usd for attempt in self.attempts)


class Permit(Protocol):
    """Leave to call a deployment once; it must be given back."""

    @property
    def queue_ms(self) -> float:
        """How long it was waited for."""

    def release(self, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None) -> None:
        """Tell how the attempt ended."""


class Gate(Protocol):
    """Breaker, limits and places of all deployments."""

    async def enter(self, deployment: Deployment, tokens: int, patience_s: float) -> Permit | Skip:
        """Ask for leave to call a deployment, waiting at most `patience_s` for a free place."""


class Books(Protocol):
    """Where attempts are recorded."""

    async def started(self, work: Work, attempt: Attempt) -> None:
        """Record an attempt before its provider is called; returns once the record is durable.

        Raises:
            Fault: it cannot be recorded anywhere, so the provider must not be called.
        """

    def ended(self, work: Work, attempt: Attempt) -> None:
        """Record how an attempt ended; never blocks, never fails, not even while being cancelled."""


class Directory(Protocol):
    """What is configured at the moment."""

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        """A deployment with the engine that calls it; None for an unknown id."""

    def key(self, deployment: Deployment) -> str | None:
        """Its key; None when it needs none.

        Raises:
            LookupError: it needs one, and the environment holds none that may be used.
        """

    def retries(self, deployment: Deployment) -> int:
        """How often it may be asked again."""

    def timeout_s(self, deployment: Deployment, *, stream: bool) -> float:
        """How many seconds it may stay silent."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait before asking again, in seconds; doubles each time, up to `longest_s`, with jitter."""

    first_s: float = 0.25
    longest_s: float = 8.0
    # Somebody else can answer now, so nobody waits long for this one.
    with_others_s: float = 1.0
    # A silent stream is a dead stream.
    idle_s: float = 120.0
    queue_s: float = 2.0

    def before_retry(self, tries: int, asked_s: float | None, *, others: bool) -> float | None:
        """Seconds to wait before try number `tries` + 1; None when it is not worth it."""
        backoff = min(self.longest_s, self.first_s * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
        # A little later than asked: the deployment rests until then, by another clock.
        wait = max(backoff, asked_s + 0.01 if asked_s else 0.0)
        return None if wait > (self.with_others_s if others else self.longest_s) else wait


class Walk:
    """One call on its way through its candidates. `report` may be read at any time, after a failure too."""

    def __init__(
        self,
        work: Work,
        directory: Directory,
        gate: Gate,
        books: Books,
        patience: Patience,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._directory = directory
        self._gate = gate
        self._books = books
        self._patience = patience
        self._clock = clock
        self._began = clock()
        self._failures: list[Failed] = []
        # True once something has left for the caller: from then on there is no going back.
        self._committed = False
        self.report = Report()

    async def pieces(self) -> AsyncGenerator[str]:
        """Yield the JSON text of the answer, or of each chunk of it.

        Raises:
            Fault: no candidate gave a whole answer.
        """
        waiting = list(self._work.candidates)
        allowed = {OnlyOn.ANY}
        try:
            while (candidate := self._next(waiting, allowed)) is not None:
                others = any(other.only_on in allowed for other in waiting)
                try:
                    async with aclosing(self._ask(candidate, others=others)) as answer:
                        async for text in answer:
                            yield text
                except Failed as failed:
                    self._failures.append(failed)
                    if self._committed or not RULES[failed.error].fall_back or self._spent():
                        raise self._fault() from failed
                    allowed |= _unlocked(failed.error)
                else:
                    if self.report.attempts and self.report.attempts[-1].whole:
                        return
                if self._clock() >= self._work.deadline:
                    self._failures.append(_deadline_passed())
                    break
            for left in waiting:
                self.report.skips.append(Skip(left.deployment, "not_needed"))
            raise self._fault()
        finally:
            self.report.total_ms = self._since(self._began)

    def _next(self, waiting: list[Candidate], allowed: set[OnlyOn]) -> Candidate | None:
        """The next candidate that may be tried; those meant for the error that happened come first."""
        fitting = [candidate for candidate in waiting if candidate.only_on in allowed]
        if not fitting:
            return None
        chosen = next((candidate for candidate in fitting if candidate.only_on is not OnlyOn.ANY), fitting[0])
        waiting.remove(chosen)
        return chosen

    async def _ask(self, candidate: Candidate, *, others: bool) -> AsyncGenerator[str]:
        """Ask one candidate as often as that is worth it.

        Raises:
            Failed: how the last try ended, when there was one.
        """
        found = self._directory.find(candidate.deployment)
        if found is None:
            self.report.skips.append(Skip(candidate.deployment, "unknown"))
            return
        deployment, engine = found
        try:
            key = self._directory.key(deployment)
        except LookupError:
            self.report.skips.append(Skip(candidate.deployment, "no_key"))
            return
        call = Call(
            deployment=deployment,
            key=key,
            operation=self._work.operation,
            body=self._work.body,
            stream=self._work.stream,
            timeout_s=self._directory.timeout_s(deployment, stream=self._work.stream),
        )
        last: Failed | None = None
        for tries in range(1, self._directory.retries(deployment) + 2):
            patience_s = min(self._patience.queue_s, max(0.0, self._work.deadline - self._clock()))
            permit = await self._gate.enter(deployment, self._work.prompt_bound, patience_s)
            if isinstance(permit, Skip):
                self.report.skips.append(permit)
                break
            self.report.queue_ms += permit.queue_ms
            try:
                async with aclosing(self._attempt(candidate, call, engine, permit)) as answer:
                    async for text in answer:
                        yield text
            except Failed as failed:
                last = failed
            else:
                return
            if self._committed or not RULES[last.error].retry or tries > self._directory.retries(deployment):
                break
            if self._spent():
                break
            wait_s = self._patience.before_retry(tries, last.retry_after_s, others=others)
            if wait_s is None or self._clock() + wait_s >= self._work.deadline:
                break
            await asyncio.sleep(wait_s)
        if last is not None:
            raise last

    def _spent(self) -> bool:
        """Whether another attempt could cost more than was reserved: those that gave nothing may be billed too."""
        billed = sum(attempt.kind is Kind.PARTIAL for attempt in self.report.attempts)
        return 0 < self._work.most_billed <= billed

    async def _attempt(
        self, candidate: Candidate, call: Call, engine: Engine, permit: Permit
    ) -> AsyncGenerator[str]:
        """Call a provider once, and record it whatever happens.

        Raises:
            Failed: anything else than a whole answer.
        """
        attempt = Attempt(
            id=f"{self._work.request_id}/{len(self.report.attempts) + 1}",
            deployment=call.deployment,
            max_cost_nano_usd=candidate.max_cost_nano_usd,
            started_unix_us=time.time_ns() // 1000,
        )
        form = answers.form(call.operation, call.deployment.model, call.body)
        began = self._clock()
        headers: Mapping[str, str] = {}
        failed: Failed | None = Failed(ErrorClass.CANCELLED, "the caller left")
        # A record that was interrupted may have been written: it gets its end all the same.
        recorded = True
        first = True
        try:
            try:
                async with asyncio.timeout(max(0.0, self._work.deadline - self._clock())):
                    await self._books.started(self._work, attempt)
            except TimeoutError:
                raise _deadline_passed() from None
            except errors.Fault:
                recorded = False
                raise
            failed = Failed(ErrorClass.CANCELLED, "the caller left", billed=True)
            async with aclosing(engine.call(call)) as pieces:
                while (piece := await self._piece(pieces, call, first=first)) is not None:
                    first = False
                    headers = piece.headers or headers
                    for text in form.chunk(piece) if call.stream else (form.whole(piece),):
                        if not self._committed:
                            self._committed = True
                            if call.stream:
                                attempt = replace(attempt, first_chunk_ms=self._since(began))
                                self.report.first_chunk_ms = self._since(self._began)
                        yield text
            if not form.complete:
                raise _incomplete(form)
            attempt = self._settled(attempt, call, engine, form)
            failed = None
            for text in form.tail(attempt.usage):
                yield text
        except Failed as raised:
            failed = raised
            raised.message = redacted(raised.message, call.key)
            headers = raised.headers or headers
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning("an answer of %s is no such answer", call.deployment.id, exc_info=True)
            failed = Failed(ErrorClass.MALFORMED, "the provider's answer has another shape", 200, billed=True)
            raise failed from error
        finally:
            attempt = replace(attempt, duration_ms=self._since(began))
            self.report.provider_ms += attempt.duration_ms
            if failed is not None:
                attempt = self._broken(attempt, call, engine, form, failed)
            if recorded:
                self.report.attempts.append(attempt)
                self._books.ended(self._work, attempt)
            permit.release(attempt, headers, failed.retry_after_s if failed else None)

    async def _piece(self, pieces: AsyncGenerator[Piece], call: Call, *, first: bool) -> Piece | None:
        """The next piece, None at the end; a provider may be silent only so long, and never past the deadline."""
        silence_s = call.timeout_s if first else min(self._patience.idle_s, call.timeout_s)
        left_s = self._work.deadline - self._clock()
        try:
            async with asyncio.timeout(max(0.0, min(silence_s, left_s))):
                return await anext(pieces, None)
        except TimeoutError:
            if left_s <= silence_s:
                raise _deadline_passed(billed=True) from None
            raise Failed(
                ErrorClass.TIMEOUT if first else ErrorClass.CUT,
                f"no answer within {silence_s:g} s" if first else f"silent for {silence_s:g} s",
                billed=True,
            ) from None

    def _settled(self, attempt: Attempt, call: Call, engine: Engine, form: answers.Form) -> Attempt:
        estimated = form.usage is None
        usage = form.usage or engine.estimate(call, "".join(form.said))
        return replace(
            attempt,
            kind=Kind.FINAL,
            whole=True,
            status_code=200,
            usage=usage,
            estimated=estimated,
            cost_nano_usd=call.deployment.price.cost(usage, form.service_tier),
        )

    def _broken(
        self, attempt: Attempt, call: Call, engine: Engine, form: answers.Form, failed: Failed
    ) -> Attempt:
        attempt = replace(
            attempt, error=failed.error, status_code=failed.status_code, message=failed.message, whole=False
        )
        begun = bool(form.said) or form.usage is not None
        if not begun and not failed.billed:
            return replace(attempt, kind=Kind.FAILED)
        seen = engine.estimate(call, "".join(form.said))
        usage = seen
        if form.usage is not None:
            # Of a cut stream the last reported count may be old: what we saw is a floor.
            completion = max(form.usage.completion_tokens, seen.completion_tokens)
            usage = replace(form.usage, completion_tokens=completion)
        if call.stream and begun and not self._may_have_thought(call, form):
            cost = call.deployment.price.cost(usage, form.service_tier)
            bounded = min(cost, attempt.max_cost_nano_usd) if attempt.max_cost_nano_usd else cost
        else:
            # Nothing came, yet the provider may have generated all of it: only the bound is sure.
            bounded = attempt.max_cost_nano_usd or call.deployment.price.cost(usage)
        return replace(attempt, kind=Kind.PARTIAL, usage=usage, estimated=True, cost_nano_usd=bounded)

    def _may_have_thought(self, call: Call, form: answers.Form) -> bool:
        """Whether the model may have generated, and bill, more than it showed."""
        deployment = call.deployment
        hides = deployment.provider in HIDING and "reasoning" in deployment.capabilities
        return hides and form.usage is None and not form.reasoned

    def _since(self, began: float) -> float:
        return (self._clock() - began) * 1000

    def _fault(self) -> errors.Fault:
        """What the caller is told: the one failure that says best whether trying again would help."""
        if not self._failures:
            return _nobody(self.report.skips)
        told = self._failures[-1]
        if not self._committed and RULES[told.error].fall_back:
            told = max(self._failures, key=lambda failed: _GRAVITY.index(RULES[failed.error].fault))
        waits = [failed.retry_after_s for failed in self._failures if failed.retry_after_s is not None]
        waits += [skip.retry_after_s for skip in self.report.skips if skip.retry_after_s is not None]
        kind = RULES[told.error].fault
        mendable = kind in (errors.Exhausted, errors.Unavailable)
        return kind(
            told.message,
            reason=_REASONS.get(told.error, kind.reason),
            param=told.param,
            retry_after_s=max(0.001, min(waits, default=1.0)) if mendable else None,
            metadata={"error_class": told.error.value},
        )


# The last in this list wins: an outage is worth a second try.
_GRAVITY = [
    errors.Invalid,
    errors.TooLarge,
    errors.NotFound,
    errors.Exhausted,
    errors.TimedOut,
    errors.Unavailable,
]
_REASONS = {
    ErrorClass.CONTEXT_LENGTH: "CONTEXT_LENGTH_EXCEEDED",
    ErrorClass.CONTENT_POLICY: "CONTENT_POLICY_VIOLATION",
    ErrorClass.UNSUPPORTED: "UNSUPPORTED_PARAMETER",
    ErrorClass.NOT_FOUND: "PROVIDER_NOT_FOUND",
    ErrorClass.RATE_LIMIT: "PROVIDER_RATE_LIMITED",
    ErrorClass.QUOTA: "PROVIDER_QUOTA_EXHAUSTED",
    ErrorClass.CUT: "STREAM_CUT",
}


def _unlocked(error: ErrorClass) -> set[OnlyOn]:
    match error:
        case ErrorClass.CONTEXT_LENGTH:
            return {OnlyOn.CONTEXT}
        case ErrorClass.CONTENT_POLICY:
            return {OnlyOn.POLICY}
        case _:
            return set()


def _incomplete(form: answers.Form) -> Failed:
    if form.said or form.usage is not None:
        return Failed(ErrorClass.CUT, "the stream ended before its end", 200, billed=True)
    return Failed(ErrorClass.MALFORMED, "the stream was empty", 200, billed=True)


def _deadline_passed(*, billed: bool = False) -> Failed:
    return Failed(ErrorClass.DEADLINE, "the deadline passed before a provider answered", billed=billed)


def _nobody(skips: Sequence[Skip]) -> errors.Fault:
    """Nobody was even called: say why."""
    reasons = {skip.reason for skip in skips if skip.reason != "not_needed"}
    waits = [skip.retry_after_s for skip in skips if skip.retry_after_s is not None]
    after = max(0.001, min(waits, default=1.0))
    if reasons == {"unknown"}:
        return errors.NotFound("no candidate is a known deployment", reason="DEPLOYMENT_NOT_FOUND")
    if reasons and reasons <= {"rate_limited", "busy"}:
        return errors.Exhausted(
            "every candidate is at its limit", reason="PROVIDER_RATE_LIMITED", retry_after_s=after
        )
    why = ", ".join(sorted(reasons)) or "there are no candidates for this error"
    return errors.Unavailable(
        f"no candidate can be called: {why}", reason="NO_HEALTHY_DEPLOYMENT", retry_after_s=after
    )
