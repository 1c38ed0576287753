"""Refusals: what a caller reads when a limit or a budget stops a request, and which refusals may be cached."""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace

import prometheus_client

from services.chassis import errors, money
from services.gateway.limits import headers, persistent
from services.gateway.limits.headers import Allowance

# Keys whose refusals are remembered, the newest of them.
REMEMBERED = 100_000

REFUSALS = prometheus_client.Counter(
    "lumni_gateway_refusals", "Requests that a limit or a budget stopped.", ["scope", "reason", "where"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Which limit or budget stopped a request; the fields are those that admit.lua answers.

    Args:
        subject: Whose limit: `key:ID`, `user:ID` or `organization:ID`.
        kind: `requests`, `tokens` or `parallel`; `budget` for money.
        limit: Requests, tokens or parallel requests; nano-USD of a budget.
        retry_ms: When another try may help; 0 is never.
        reset_ms: When the window of requests and tokens ends.
        cacheable_ms: For how long the same request is refused whatever else happens, so that this may be repeated
            from memory; 0 when it may be admitted at any moment.
        requests: The tightest limit on requests.
        tokens: The tightest limit on tokens.
        period: Of a budget: its period.
        left: Of a budget: nano-USD that are neither spent nor held.
        held: Of a budget: nano-USD that requests under way hold.
        in_flight: Of a budget: whether it covers the request once those are over.

    """

    subject: str
    kind: str
    limit: int
    retry_ms: float
    reset_ms: float
    cacheable_ms: float = 0
    requests: Allowance | None = None
    tokens: Allowance | None = None
    period: str = ""
    left: float = 0
    held: float = 0
    in_flight: bool = False

    def fault(self, where: str) -> errors.Exhausted:
        """The error for the caller, counted; `where` is what decided: `redis`, `memory` or `here`."""
        scope, _, name = self.subject.partition(":")
        if self.kind == "budget":
            reason, shown, message = "INSUFFICIENT_QUOTA", "insufficient_quota", self._spent(scope, name)
        else:
            reason, shown = "RATE_LIMIT_EXCEEDED", "tokens" if self.kind == "tokens" else "requests"
            unit = "parallel requests" if self.kind == "parallel" else f"{self.kind} per minute"
            message = (
                f"{scope} {name} may make {self.limit:,} {unit}; try again in {self.retry_ms / 1000:.1f} s"
            )
        REFUSALS.labels(scope, reason, where).inc()
        persistent.followed.note(self.subject)
        return errors.Exhausted(
            message,
            reason=reason,
            retry_after_s=self.retry_ms / 1000 or None,
            metadata={
                "type": shown,
                "limit": self.kind,
                "scope": scope,
                **headers.rate_limits(self.requests, self.tokens, self.reset_ms),
            },
        )

    def _spent(self, scope: str, name: str) -> str:
        hint = ""
        if self.in_flight:
            held = money.usd(self.held)
            hint = f", and {held:.9f} are held by requests under way; try again when they are over"
        elif self.retry_ms:
            hint = f"; it is whole again in {self.retry_ms / 1000:,.0f} s"
        return (
            f"the {self.period} budget of {scope} {name} does not cover this request: "
            f"{money.usd(self.left):.9f} USD are left of {money.usd(self.limit):.9f}{hint}"
        )


class RefusalMemory:
    """Refusals that hold until a reset: they are repeated without asking Redis."""

    def __init__(self) -> None:
        # By key: until when, from how many tokens on, and the refusal.
        self._refusals: OrderedDict[str, tuple[float, int, Refusal]] = OrderedDict()

    def remember(self, key_id: str, refusal: Refusal, tokens: int) -> None:
        """Remember what a request of so many tokens was refused for, for as long as it may be repeated."""
        if not refusal.cacheable_ms:
            return
        at_least = tokens if refusal.kind == "tokens" else 0
        self._refusals[key_id] = (time.monotonic() + refusal.cacheable_ms / 1000, at_least, refusal)
        if len(self._refusals) > REMEMBERED:
            self._refusals.popitem(last=False)

    def recall(self, key_id: str, tokens: int) -> Refusal | None:
        """The refusal that a request of so many tokens would meet, with the time that is left."""
        remembered = self._refusals.get(key_id)
        if remembered is None:
            return None
        until, at_least, refusal = remembered
        left_ms = (until - time.monotonic()) * 1000
        if left_ms <= 0:
            del self._refusals[key_id]
            return None
        return replace(refusal, retry_ms=left_ms, reset_ms=left_ms) if tokens >= at_least else None

    def forget_all(self) -> None:
        """Drop all refusals: the limits of any plan may have changed."""
        self._refusals.clear()

    def forget(self, subject: str) -> None:
        """Drop the refusals that a changed subject may have lifted."""
        if subject.startswith("key:"):
            self._refusals.pop(subject.removeprefix("key:"), None)
        else:
            self._refusals.clear()
