"""What follows from each class of error: the table of retries, fallbacks and breakers, and the waits before a retry."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from services.chassis import errors
from services.executor.engines.outcomes import ErrorClass


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from one class of error.

    Args:
        fault: What the caller gets when it ends the run.
        meaning: One line for the documentation.
        retry: Whether the same deployment may be called again.
        fall_back: Whether the next candidate may be called.
        trips: Whether it counts against the deployment's circuit breaker.

    """

    fault: type[errors.Fault]
    meaning: str
    retry: bool = False
    fall_back: bool = False
    trips: bool = False


RULES: Mapping[ErrorClass, Rule] = {
    ErrorClass.BAD_REQUEST: Rule(
        errors.Invalid,
        "400, 422: the caller's mistake, in the provider's words; or found before a request was sent",
    ),
    ErrorClass.UNSUPPORTED: Rule(
        errors.Invalid,
        "LiteLLM cannot express the request for this provider; none was called",
        fall_back=True,
    ),
    ErrorClass.CONTEXT_LENGTH: Rule(
        errors.Invalid, "the prompt is too long; candidates for context errors come first", fall_back=True
    ),
    ErrorClass.CONTENT_POLICY: Rule(
        errors.Invalid, "the content was refused; candidates for policy errors come first", fall_back=True
    ),
    ErrorClass.TOO_LARGE: Rule(
        errors.TooLarge, "413: the body is too large for this provider", fall_back=True
    ),
    ErrorClass.AUTHENTICATION: Rule(
        errors.Unavailable, "401: the deployment's key is wrong", fall_back=True, trips=True
    ),
    ErrorClass.PERMISSION: Rule(
        errors.Unavailable, "403: the deployment's key may not do this", fall_back=True, trips=True
    ),
    ErrorClass.NOT_FOUND: Rule(errors.NotFound, "404: the provider does not know the model", fall_back=True),
    ErrorClass.RATE_LIMIT: Rule(
        errors.Exhausted, "429: the provider's limit; retry-after is honoured", retry=True, fall_back=True
    ),
    ErrorClass.QUOTA: Rule(
        errors.Exhausted, "402, 429: the account's credit is used up", fall_back=True, trips=True
    ),
    ErrorClass.TIMEOUT: Rule(
        errors.TimedOut, "408, 504, or no answer within the timeout", retry=True, fall_back=True, trips=True
    ),
    ErrorClass.SERVER_ERROR: Rule(
        errors.Unavailable, "500 and other 5xx", retry=True, fall_back=True, trips=True
    ),
    ErrorClass.OVERLOADED: Rule(errors.Unavailable, "502, 503, 529", retry=True, fall_back=True, trips=True),
    ErrorClass.CONNECTION: Rule(
        errors.Unavailable, "refused, reset, or no such host", retry=True, fall_back=True, trips=True
    ),
    ErrorClass.MALFORMED: Rule(
        errors.Unavailable,
        "no JSON, a wrong content type, or an empty stream",
        retry=True,
        fall_back=True,
        trips=True,
    ),
    ErrorClass.CUT: Rule(errors.Unavailable, "the stream ended after it began, before its end", trips=True),
    ErrorClass.BUSY: Rule(
        errors.Unavailable,
        "the executor's memory for pictures is used up; no provider was called",
        fall_back=True,
    ),
    ErrorClass.INTERNAL: Rule(
        errors.Internal, "our own mistake, before a request was sent; no provider was called", fall_back=True
    ),
    ErrorClass.DEADLINE: Rule(errors.TimedOut, "the caller's deadline passed"),
    ErrorClass.CANCELLED: Rule(errors.TimedOut, "the caller disconnected"),
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a run waits, in seconds.

    Args:
        first_s: Before the first retry; doubles each time, with jitter.
        longest_s: Before any retry.
        with_others_s: Before a retry while another candidate could answer.
        idle_s: For the next chunk of a stream.
        queue_s: For the permission to call a busy deployment.

    """

    first_s: float = 0.25
    longest_s: float = 8.0
    with_others_s: float = 1.0
    idle_s: float = 120.0
    queue_s: float = 2.0

    def before_retry(self, tries: int, retry_after_s: float | None, *, others: bool) -> float | None:
        """Seconds to wait before try number `tries` + 1; None when it is not worth it.

        Args:
            tries: How many were made.
            retry_after_s: What the provider asked for.
            others: Whether another candidate could answer now.

        """
        backoff = min(self.longest_s, self.first_s * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
        # A little more than the provider asked for: the deployment is paused until then, by another clock.
        wait = max(backoff, retry_after_s + 0.01 if retry_after_s else 0.0)
        return None if wait > (self.with_others_s if others else self.longest_s) else wait
