"""The state of each deployment, merged from the reports of all executor replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from services.chassis import breaker_majority


class State(StrEnum):
    """What an operator needs to know of a deployment first."""

    # The last conclusive call was answered, or there was none yet.
    OK = "ok"
    # It is called, but the last conclusive call failed.
    FAILING = "failing"
    # It is not called until its quota is reset, or its provider's pause is over.
    RESTING = "resting"
    HALF_OPEN = "half_open"
    OPEN = "open"
    # No executor has the key or the address that it needs.
    NO_KEY = "no_key"
    # No executor has reported it lately.
    UNKNOWN = "unknown"


class Breaker(StrEnum):
    """A circuit breaker's state."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Headroom:
    """What remains of one limit, and when it is reset, in milliseconds since 1970."""

    limit: str
    total: int
    remaining: int
    resets_unix_ms: int
    by_provider: bool


@dataclass(frozen=True, slots=True)
class Report:
    """One replica's view of one deployment; times are in milliseconds since 1970."""

    deployment: str
    replica: str
    breaker: Breaker = Breaker.CLOSED
    latency_ms: float = 0.0
    error_rate: float = 0.0
    in_flight: int = 0
    callable: bool = True
    last_error: str = ""
    rests_until_unix_ms: int = 0
    updated_unix_ms: int = 0
    headroom: tuple[Headroom, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a deployment fares, over all replicas; times are in milliseconds since 1970.

    Args:
        deployment: Its id.
        model: Its public name; empty when this gateway's configuration does not have it.
        provider: LiteLLM's name of the provider; empty as `model`.
        state: What to know first.
        breaker: Open where most replicas' is, as selectors take it.
        latency_ms: The mean of the replicas' moving averages of the time to an answer or a first chunk; None
            before the first call.
        error_rate: The mean share of failed attempts in the breaker's window, 0 to 1.
        in_flight: Calls under way, over all replicas.
        headroom: The least that any replica knows to remain of each limit.
        last_error: The class of error that the last conclusive call met; empty when it was answered.
        rests_until_unix_ms: Until when it is not called; 0 when it may be called.
        replicas: The breaker's state by executor replica.

    """

    deployment: str
    model: str = ""
    provider: str = ""
    state: State = State.UNKNOWN
    breaker: Breaker = Breaker.UNKNOWN
    latency_ms: float | None = None
    error_rate: float | None = None
    in_flight: int = 0
    headroom: tuple[Headroom, ...] = ()
    last_error: str = ""
    rests_until_unix_ms: int = 0
    replicas: Mapping[str, Breaker] = field(default_factory=dict)


def merge(
    configured: Mapping[str, tuple[str, str]], reports: Sequence[Report], now_unix_ms: int
) -> list[Deployment]:
    """The deployments in the configuration's order, then those that only executors know.

    Args:
        configured: Model and provider by id.
        reports: Recent ones, of all replicas.
        now_unix_ms: Windows that are over by then are whole again.
    """
    found: dict[str, list[Report]] = {ident: [] for ident in configured}
    for report in reports:
        found.setdefault(report.deployment, []).append(report)
    return [
        _merged(ident, *configured.get(ident, ("", "")), views, now_unix_ms) for ident, views in found.items()
    ]


def _merged(ident: str, model: str, provider: str, views: Sequence[Report], now_unix_ms: int) -> Deployment:
    if not views:
        return Deployment(ident, model, provider)
    # A replica without the key says nothing about the provider.
    able = [view for view in views if view.callable]
    counted = able or views
    breaker = _breaker(counted)
    headroom = _least(counted, now_unix_ms)
    used_up = [one.resets_unix_ms for one in headroom if one.remaining <= 0]
    # While the breaker counts as closed, those that see it open do not speak for the others.
    resting = [
        view.rests_until_unix_ms
        for view in counted
        if breaker is Breaker.OPEN or view.breaker is Breaker.CLOSED
    ]
    rests_until = max([*resting, *used_up], default=0)
    latest = max(counted, key=lambda view: view.updated_unix_ms)
    failing = next((view.last_error for view in (latest, *counted) if view.last_error), "")
    timed = [view.latency_ms for view in counted if view.latency_ms > 0]
    if not able:
        state = State.NO_KEY
    elif breaker is not Breaker.CLOSED:
        state = State(breaker)
    elif rests_until > now_unix_ms:
        state = State.RESTING
    else:
        state = State.FAILING if failing else State.OK
    return Deployment(
        ident,
        model,
        provider,
        state=state,
        breaker=breaker,
        latency_ms=sum(timed) / len(timed) if timed else None,
        error_rate=sum(view.error_rate for view in counted) / len(counted),
        in_flight=sum(view.in_flight for view in counted),
        headroom=headroom,
        last_error=failing,
        rests_until_unix_ms=rests_until if rests_until > now_unix_ms else 0,
        replicas={view.replica: view.breaker for view in views},
    )


def _breaker(views: Sequence[Report]) -> Breaker:
    if breaker_majority.is_open([view.breaker is Breaker.OPEN for view in views]):
        return Breaker.OPEN
    half_open = any(view.breaker is Breaker.HALF_OPEN for view in views)
    return Breaker.HALF_OPEN if half_open else Breaker.CLOSED


def _least(views: Sequence[Report], now_unix_ms: int) -> tuple[Headroom, ...]:
    """The least that remains of each limit, for the replicas share the counters."""
    found: dict[str, Headroom] = {}
    for one in (one for view in views for one in view.headroom if one.resets_unix_ms > now_unix_ms):
        known = found.get(one.limit)
        if known is None or one.remaining < known.remaining:
            found[one.limit] = one
    return tuple(found.values())
