"""What a run works on and with: the call, its candidates, its attempts, and the parts that it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from services.chassis.candidates import OnlyOn
from services.chassis.costs import Cost
from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.engines.base import Engine, File
from services.executor.engines.outcomes import ErrorClass
from services.executor.engines.usage import Usage

NO_USAGE = Usage()


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
        stream: Whether chunks are wanted as they come.
        candidates: Tried in this order.
        deadline: When the caller stops waiting, on the monotonic clock.
        likely_prompt_tokens: What the prompt will probably take, for the quotas.
        max_billed_attempts: How many attempts may cost something; 0 is no bound.
        file: What is uploaded with the body; None where the operation takes no file.
        audio_ms: How long the sound in it is taken to be, in milliseconds, where a provider does not say.
        size: Characters of the body as it came.
        origin: What usage events repeat of the request; nothing here looks at it.

    """

    request_id: str
    operation: Operation
    body: Mapping[str, Any] = field(repr=False)
    stream: bool
    candidates: Sequence[Candidate]
    deadline: float
    likely_prompt_tokens: int = 0
    max_billed_attempts: int = 0
    file: File | None = None
    audio_ms: int = 0
    size: int = 0
    origin: object = None


class AttemptState(StrEnum):
    """How far an attempt came, and so what is known of its cost."""

    # Its provider may have been called.
    STARTED = "started"
    # A whole answer: the cost is exact.
    FINAL = "final"
    # No whole answer, but the provider may bill it: the cost is an upper bound.
    PARTIAL = "partial"
    # The provider bills nothing.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a provider."""

    id: str
    deployment: Deployment
    max_cost_nano_usd: int
    started_unix_us: int
    state: AttemptState = AttemptState.STARTED
    error: ErrorClass | None = None
    status_code: int = 0
    usage: Usage = NO_USAGE
    cost_nano_usd: int = 0
    # What its parts cost; None where the cost is 0, or the bound that was reserved.
    cost_parts: Cost | None = None
    duration_ms: float = 0.0
    first_chunk_ms: float = 0.0
    # The tokens were counted here, as the provider did not report them.
    estimated: bool = False
    message: str = ""
    # The parameters of the request that were not sent on, by name.
    dropped: tuple[str, ...] = ()


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
        if len(self.attempts) == 1:
            return self.attempts[0].usage
        return sum((attempt.usage for attempt in self.attempts), NO_USAGE)

    @property
    def cost_nano_usd(self) -> int:
        """The sum over the attempts."""
        return sum(attempt.cost_nano_usd for attempt in self.attempts)


class Permit(Protocol):
    """The permission to call a deployment once; it must be released."""

    @property
    def queue_ms(self) -> float:
        """How long the call was queued for it."""

    def release(self, attempt: Attempt, headers: Mapping[str, str], retry_after_s: float | None) -> None:
        """Give it back, with how the attempt ended."""


class Gate(Protocol):
    """Decides which deployments may be called right now."""

    async def acquire(self, deployment: Deployment, tokens: int, max_wait_s: float) -> Permit | Skip:
        """Get the permission to call a deployment with about so many tokens, queued at most `max_wait_s` for it."""


class EventSink(Protocol):
    """Where attempts are recorded."""

    async def started(self, work: Work, attempt: Attempt) -> None:
        """Record an attempt before its provider is called; returns once the record is durable.

        Raises:
            Fault: it cannot be recorded anywhere, so the provider must not be called.
        """

    def ended(self, work: Work, attempt: Attempt) -> None:
        """Record how an attempt ended; never blocks, never fails, not even while being cancelled."""


class Deployments(Protocol):
    """What is configured at the moment."""

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        """A deployment with the engine that calls it; None for an unknown id."""

    def key(self, deployment: Deployment) -> str | None:
        """Its key; None when it needs none.

        Raises:
            LookupError: it needs one, and the environment holds none that may be used.
        """

    def retries(self, deployment: Deployment) -> int:
        """How often it may be called again."""

    def timeout_s(self, deployment: Deployment, *, stream: bool) -> float:
        """How many seconds it may stay silent."""
