"""How the requests of the last minutes ended, as the ledger's events tell."""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum

# The newest requests that are counted, of some 200 bytes each.
MOST = 20_000
# The share of answers that are at most as slow as is told.
MOST_ANSWERS = 0.95


class Outcome(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    FALLBACK = "fallback"
    # For a reason of ours or a provider's.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Shares:
    """What there was in the window; the rates are 0 without requests.

    Args:
        requests: How many ended.
        error_rate: The share of them that failed.
        fallback_rate: The share of the answers that another deployment than the first one gave.
        answer_s: What 95 % of the answers took at most, in seconds.

    """

    requests: int
    error_rate: float
    fallback_rate: float
    answer_s: float


@dataclass(frozen=True, slots=True)
class _End:
    """How a request ended, as far as is known, and when its first attempt was learnt of, on the monotonic clock."""

    at: float
    outcome: Outcome
    deployment: str
    took_s: float


class RecentRequests:
    """Counts each request once, however often its events are delivered."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        # By request id, the oldest first.
        self._ends: OrderedDict[str, _End] = OrderedDict()

    def resize(self, window_s: float) -> None:
        """Count over another window from now on; of a longer one, what was dropped before stays uncounted."""
        self._window_s = window_s

    def add(self, request_id: str, deployment: str, took_s: float, now: float, *, failed: bool) -> None:
        """Count an attempt that was learnt of now; a request has failed until one of its attempts has not."""
        known = self._ends.get(request_id)
        if known is not None and (failed or known.outcome is not Outcome.FAILED):
            return
        if failed:
            outcome = Outcome.FAILED
        else:
            outcome = Outcome.FALLBACK if known and known.deployment != deployment else Outcome.ANSWERED
        self._ends[request_id] = _End(known.at if known else now, outcome, deployment, took_s)
        if len(self._ends) > MOST:
            self._ends.popitem(last=False)

    def shares(self, now: float) -> Shares:
        """What there was in the window that ends now."""
        while self._ends and next(iter(self._ends.values())).at < now - self._window_s:
            self._ends.popitem(last=False)
        outcomes = [end.outcome for end in self._ends.values()]
        answers = sorted(end.took_s for end in self._ends.values() if end.outcome is not Outcome.FAILED)
        slowest = answers[int((len(answers) - 1) * MOST_ANSWERS)] if answers else 0.0
        return Shares(
            requests=len(outcomes),
            error_rate=outcomes.count(Outcome.FAILED) / len(outcomes) if outcomes else 0.0,
            fallback_rate=outcomes.count(Outcome.FALLBACK) / len(answers) if answers else 0.0,
            answer_s=slowest,
        )
