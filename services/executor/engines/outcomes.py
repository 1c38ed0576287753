"""What went wrong with an attempt, and what to do about it: one table.

Everything that can happen to a call of a provider is one of these classes. The engines sort into them, the
walk reads the table, and nothing else in the executor knows what a status code means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.chassis import errors


class ErrorClass(StrEnum):
    """Why an attempt gave no whole answer; the value is what events, metrics and reports say."""

    BAD_REQUEST = "bad_request"
    UNSUPPORTED = "unsupported"
    CONTEXT_LENGTH = "context_length"
    CONTENT_POLICY = "content_policy"
    TOO_LARGE = "too_large"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    CONNECTION = "connection"
    MALFORMED = "malformed"
    CUT = "cut"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from one class of error.

    Args:
        retry: Whether the same deployment may be asked again.
        fall_back: Whether the next candidate may be asked.
        trips: Whether it counts against the deployment's circuit breaker.
        fault: What the caller is told when it ends the walk.
        meaning: One line for the documentation.

    """

    retry: bool
    fall_back: bool
    trips: bool
    fault: type[errors.Fault]
    meaning: str


_YES, _NO = True, False

RULES: Mapping[ErrorClass, Rule] = {
    ErrorClass.BAD_REQUEST: Rule(
        _NO, _NO, _NO, errors.Invalid, "400, 422: the caller's mistake, told as the provider told it"
    ),
    ErrorClass.UNSUPPORTED: Rule(
        _NO,
        _YES,
        _NO,
        errors.Invalid,
        "LiteLLM cannot express the request for this provider; none was called",
    ),
    ErrorClass.CONTEXT_LENGTH: Rule(
        _NO, _YES, _NO, errors.Invalid, "the prompt is too long; candidates for context errors come first"
    ),
    ErrorClass.CONTENT_POLICY: Rule(
        _NO, _YES, _NO, errors.Invalid, "the content was refused; candidates for policy errors come first"
    ),
    ErrorClass.TOO_LARGE: Rule(
        _NO, _YES, _NO, errors.TooLarge, "413: the body is too large for this provider"
    ),
    ErrorClass.AUTHENTICATION: Rule(
        _NO, _YES, _YES, errors.Unavailable, "401: the deployment's key is wrong"
    ),
    ErrorClass.PERMISSION: Rule(
        _NO, _YES, _YES, errors.Unavailable, "403: the deployment's key may not do this"
    ),
    ErrorClass.NOT_FOUND: Rule(_NO, _YES, _NO, errors.NotFound, "404: the provider does not know the model"),
    ErrorClass.RATE_LIMIT: Rule(
        _YES, _YES, _NO, errors.Exhausted, "429: the provider's limit; retry-after is honoured"
    ),
    ErrorClass.QUOTA: Rule(_NO, _YES, _YES, errors.Exhausted, "402, 429: the account's credit is used up"),
    ErrorClass.TIMEOUT: Rule(_YES, _YES, _YES, errors.TimedOut, "408, 504, or no answer within the timeout"),
    ErrorClass.SERVER_ERROR: Rule(_YES, _YES, _YES, errors.Unavailable, "500 and other 5xx"),
    ErrorClass.OVERLOADED: Rule(_YES, _YES, _YES, errors.Unavailable, "502, 503, 529"),
    ErrorClass.CONNECTION: Rule(_YES, _YES, _YES, errors.Unavailable, "refused, reset, or no such host"),
    ErrorClass.MALFORMED: Rule(
        _YES, _YES, _YES, errors.Unavailable, "no JSON, a wrong content type, or an empty stream"
    ),
    ErrorClass.CUT: Rule(
        _NO, _NO, _YES, errors.Unavailable, "the stream ended after it began, before its end"
    ),
    ErrorClass.DEADLINE: Rule(_NO, _NO, _NO, errors.TimedOut, "the caller's deadline passed"),
    ErrorClass.CANCELLED: Rule(_NO, _NO, _NO, errors.TimedOut, "the caller left"),
}


@dataclass(slots=True)
class Failed(Exception):
    """An attempt that gave no whole answer.

    Args:
        error: Its class.
        message: What the provider said, without secrets.
        status_code: The provider's HTTP status; 0 when there was none.
        retry_after_s: What the provider asked us to wait; None when it said nothing.
        headers: The response's headers, lower case.
        billed: Whether the provider may charge for it although it gave no answer: false for an error status
            and for a call that never reached it.
        called: Whether the provider was called at all.
        param: The field at fault, as the provider named it.
        code: The provider's own code.

    """

    error: ErrorClass
    message: str
    status_code: int = 0
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    billed: bool = False
    called: bool = True
    param: str | None = None
    code: str = ""

    def __str__(self) -> str:
        return f"{self.error}: {self.message}"

    __hash__ = Exception.__hash__
    __eq__ = Exception.__eq__


# Checked in order on the lower-cased message of a 4xx; the words are the providers'.
_CONTEXT_WORDS = (
    "context_length_exceeded",
    "context length",
    "context window",
    "maximum context",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "exceeds the maximum number of tokens",
    "input token count",
    "reduce the length",
    "exceed context limit",
)
_POLICY_WORDS = (
    "content_policy_violation",
    "content_filter",
    "content management policy",
    "content policy",
    "safety system",
    "responsibleaipolicyviolation",
    "flagged as",
    "usage policies",
    "prohibited_content",
)
# Not "exceeded your current quota": Gemini says so of its limits per minute too.
_QUOTA_WORDS = ("insufficient_quota", "credit balance", "insufficient balance", "insufficient credits")

_BY_STATUS: Mapping[int, ErrorClass] = {
    401: ErrorClass.AUTHENTICATION,
    402: ErrorClass.QUOTA,
    403: ErrorClass.PERMISSION,
    404: ErrorClass.NOT_FOUND,
    408: ErrorClass.TIMEOUT,
    413: ErrorClass.TOO_LARGE,
    429: ErrorClass.RATE_LIMIT,
    502: ErrorClass.OVERLOADED,
    503: ErrorClass.OVERLOADED,
    504: ErrorClass.TIMEOUT,
    529: ErrorClass.OVERLOADED,
}


def classify(status_code: int, said: str) -> ErrorClass:
    """Sort an HTTP error by its status and, where a status means several things, by the provider's words."""
    words = said.lower()
    if status_code in (400, 413, 422) and any(word in words for word in _CONTEXT_WORDS):
        return ErrorClass.CONTEXT_LENGTH
    if status_code in (400, 403, 422) and any(word in words for word in _POLICY_WORDS):
        return ErrorClass.CONTENT_POLICY
    if status_code == 429 and any(word in words for word in _QUOTA_WORDS):
        return ErrorClass.QUOTA
    if status_code in _BY_STATUS:
        return _BY_STATUS[status_code]
    if 400 <= status_code < 500:
        return ErrorClass.BAD_REQUEST
    return ErrorClass.SERVER_ERROR
