"""What can go wrong, by what a caller can do about it.

Fault
├── Invalid            the request is wrong: change it
│   └── TooLarge       the request is too long
├── Unauthenticated    the key is missing, unknown, expired or revoked
├── Forbidden          the key is good, but not for this
├── NotFound           no such model, key or route
├── Conflict           it exists already, or was changed meanwhile
├── Exhausted          a limit or budget is used up: wait
├── Unavailable        a part is down: try again
├── TimedOut           time ran out
└── Internal           our mistake; the caller learns no more than that

Cores and servicers raise these; `services.chassis.status` turns them into wire formats.
"""

from collections.abc import Mapping


class Fault(Exception):
    """A failure the caller may read.

    Args:
        message: What is wrong and what would mend it; names the field and holds no secret.
        reason: The cause in UPPER_SNAKE_CASE; REST shows it in lower case as `code`.
        param: The field at fault.
        retry_after_s: Seconds after which the same request may succeed.
        metadata: Bounded facts for programs, such as the name of the limit.
        details: Protobuf messages that travel in the status, such as the executor's Report.

    """

    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
        details: tuple[object, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.param = param
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})
        self.details = details


class Invalid(Fault):
    """The request is wrong."""

    reason = "INVALID_REQUEST"


class TooLarge(Invalid):
    """The request is too long."""

    reason = "REQUEST_TOO_LARGE"


class UnsupportedType(Invalid):
    """The body is of a type, or packed in a way, that is not read here."""

    reason = "UNSUPPORTED_MEDIA_TYPE"


class Unauthenticated(Fault):
    """The key is missing, unknown, expired or revoked."""

    reason = "INVALID_API_KEY"


class Forbidden(Fault):
    """The key is good, but not for this."""

    reason = "PERMISSION_DENIED"


class NotFound(Fault):
    """There is no such thing."""

    reason = "NOT_FOUND"


class Conflict(Fault):
    """It exists already, or was changed meanwhile."""

    reason = "CONFLICT"


class Exhausted(Fault):
    """A limit or a budget is used up."""

    reason = "RATE_LIMIT_EXCEEDED"


class Unavailable(Fault):
    """A part that is needed is down."""

    reason = "SERVICE_UNAVAILABLE"

    @property
    def answered(self) -> bool:
        """Whether the part that was called answered: with a reason of its own it says what else is unavailable."""
        return self.reason != Unavailable.reason


class TimedOut(Fault):
    """Time ran out."""

    reason = "TIMEOUT"


class Internal(Fault):
    """Our own mistake."""

    reason = "INTERNAL"
