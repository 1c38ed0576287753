"""What can go wrong with an attempt: the classes of errors, which every engine sorts into.

What follows from each class is the table in `attempts.retry`; nothing else knows what a status code means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ErrorClass(StrEnum):
    """Why an attempt gave no whole answer; the value is the name in events, metrics and reports."""

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
    BUSY = "busy"
    INTERNAL = "internal"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Failed(Exception):
    """An attempt that gave no whole answer.

    Args:
        error: Its class.
        message: The provider's own message, without secrets.
        status_code: The provider's HTTP status; 0 when there was none.
        retry_after_s: Seconds after which the provider wants to be called again; None when it named none.
        headers: The response's headers, lower case.
        billed: Whether the provider may charge for it although it gave no answer: false for an error status
            and for a call that never reached it.
        param: The field at fault, as the provider named it.

    """

    error: ErrorClass
    message: str
    status_code: int = 0
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    billed: bool = False
    param: str | None = None

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
# Not "exceeded your current quota": Gemini writes that of its limits per minute too.
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


def classify(status_code: int, text: str) -> ErrorClass:
    """Sort an HTTP error by its status and, where a status means several things, by the provider's words."""
    words = text.lower()
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
