"""The one fault that a failed run ends with, and the failures that no provider reported."""

from collections.abc import Sequence

from services.chassis import errors
from services.executor.attempts.model import Skip
from services.executor.attempts.retry import RULES
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.formats.base import ResponseFormat

# Of several failures the one furthest down is reported: an outage is worth a second try.
_PRECEDENCE = [
    errors.Invalid,
    errors.TooLarge,
    errors.NotFound,
    errors.Internal,
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
# Passed over because of what is used of them, not because of what is wrong with them.
_USED_UP = {"rate_limited", "busy"}


def of_run(failures: Sequence[Failed], skips: Sequence[Skip], *, committed: bool) -> errors.Fault:
    """The fault that shows best whether trying again would help.

    Args:
        failures: How the attempts failed, in order.
        skips: The candidates that were passed over.
        committed: Whether a part of an answer was sent to the caller.

    """
    if not failures:
        return _none_called(skips)
    shown = failures[-1]
    if not committed and RULES[shown.error].fall_back:
        shown = max(failures, key=lambda failed: _PRECEDENCE.index(RULES[failed.error].fault))
    kind = RULES[shown.error].fault
    waits = [failed.retry_after_s for failed in failures]
    return kind(
        shown.message,
        reason=_REASONS.get(shown.error, kind.reason),
        param=shown.param,
        retry_after_s=_shortest(waits, skips) if kind in (errors.Exhausted, errors.Unavailable) else None,
        metadata={"error_class": shown.error.value},
    )


def incomplete(answer: ResponseFormat) -> Failed:
    """A stream that ended before its provider marked it as complete."""
    if answer.begun:
        return Failed(ErrorClass.CUT, "the stream ended before its end", 200, billed=True)
    return Failed(ErrorClass.MALFORMED, "the stream was empty", 200, billed=True)


def unforeseen(*, sent: bool) -> Failed:
    """An exception that nothing foresaw: an answer of another shape, or our own mistake before anything was sent."""
    if sent:
        return Failed(ErrorClass.MALFORMED, "the provider's answer has another shape", 200, billed=True)
    return Failed(ErrorClass.INTERNAL, "the request could not be sent")


def not_ready(waited_s: float) -> Failed:
    """Only pictures that are fetched keep a request waiting before it is sent."""
    return Failed(
        ErrorClass.BAD_REQUEST, f"messages: the pictures did not come within {waited_s:g} s", param="messages"
    )


def deadline_passed(*, billed: bool = False) -> Failed:
    """The caller's deadline passed."""
    return Failed(ErrorClass.DEADLINE, "the deadline passed before a provider answered", billed=billed)


def disconnected(*, billed: bool = False) -> Failed:
    """The caller disconnected."""
    return Failed(ErrorClass.CANCELLED, "the caller disconnected", billed=billed)


def _none_called(skips: Sequence[Skip]) -> errors.Fault:
    """No candidate could be called, and why."""
    reasons = {skip.reason for skip in skips if skip.reason != "not_needed"}
    if reasons == {"unknown"}:
        return errors.NotFound("no candidate is a known deployment", reason="DEPLOYMENT_NOT_FOUND")
    retry_after_s = _shortest([], skips)
    if reasons and reasons <= _USED_UP:
        return errors.Exhausted(
            "every candidate is at its limit", reason="PROVIDER_RATE_LIMITED", retry_after_s=retry_after_s
        )
    why = ", ".join(sorted(reasons)) or "there are no candidates for this error"
    return errors.Unavailable(
        f"no candidate can be called: {why}", reason="NO_HEALTHY_DEPLOYMENT", retry_after_s=retry_after_s
    )


def _shortest(waits: Sequence[float | None], skips: Sequence[Skip]) -> float:
    """Seconds until the first deployment may be called again; 1 when none of them is known to be paused."""
    known = [wait for wait in (*waits, *(skip.retry_after_s for skip in skips)) if wait is not None]
    return max(0.001, min(known, default=1.0))
