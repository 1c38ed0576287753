"""Faults on the wire: one table to gRPC, one to HTTP, and the way back."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from lumni.chat.v1 import chat_pb2

from services.chassis import errors

DOMAIN = "lumni"
# Bytes of a message or of a field's name. A status holds them three times, and gRPC's clients take trailers of 8 KiB.
LONGEST = 1024
T = TypeVar("T")

GRPC: Mapping[type[errors.Fault], int] = {
    errors.Invalid: code_pb2.INVALID_ARGUMENT,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.Forbidden: code_pb2.PERMISSION_DENIED,
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.Conflict: code_pb2.ALREADY_EXISTS,
    errors.Exhausted: code_pb2.RESOURCE_EXHAUSTED,
    errors.Unavailable: code_pb2.UNAVAILABLE,
    errors.TimedOut: code_pb2.DEADLINE_EXCEEDED,
    errors.Internal: code_pb2.INTERNAL,
}

# HTTP status and OpenAI's error type.
HTTP: Mapping[type[errors.Fault], tuple[int, str]] = {
    errors.TooLarge: (413, "invalid_request_error"),
    errors.UnsupportedType: (415, "invalid_request_error"),
    errors.Invalid: (400, "invalid_request_error"),
    errors.Unauthenticated: (401, "invalid_request_error"),
    errors.Forbidden: (403, "permission_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.Conflict: (409, "invalid_request_error"),
    errors.Exhausted: (429, "requests"),
    errors.Unavailable: (503, "server_error"),
    errors.TimedOut: (504, "server_error"),
    errors.Internal: (500, "server_error"),
}

FAULTS: Mapping[int, type[errors.Fault]] = {code: fault for fault, code in GRPC.items()}


def _lookup(table: Mapping[type[errors.Fault], T], fault: errors.Fault) -> T:
    return next(table[kind] for kind in type(fault).__mro__ if kind in table)


def to_status(fault: errors.Fault) -> status_pb2.Status:
    """Pack a fault with ErrorInfo, and with RetryInfo, BadRequest or QuotaFailure where they fit."""
    message = shortened(fault.message)
    status = status_pb2.Status(code=_lookup(GRPC, fault), message=message)
    details: list[Any] = [
        error_details_pb2.ErrorInfo(reason=fault.reason, domain=DOMAIN, metadata=fault.metadata)
    ]
    if fault.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(math.ceil(fault.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if fault.param is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=shortened(fault.param), description=message
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(fault, errors.Exhausted):
        quota = error_details_pb2.QuotaFailure.Violation(
            subject=fault.metadata.get("limit", fault.reason.lower()), description=message
        )
        details.append(error_details_pb2.QuotaFailure(violations=[quota]))
    status.details.extend(_packed(detail) for detail in (*details, *fault.details))
    return status


def shortened(text: str) -> str:
    """The beginning of a text that repeats what a caller sent: it travels in trailers, which clients bound."""
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= LONGEST else encoded[: LONGEST - 3].decode("utf-8", "ignore") + "..."


def _packed(detail: Any) -> AnyMessage:
    """A detail as one Any; what came packed from another service stays as it is."""
    if isinstance(detail, AnyMessage):
        return detail
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def from_status(status: status_pb2.Status) -> errors.Fault:
    """Unpack what `to_status` packed; unknown details come along as they are."""
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad = error_details_pb2.BadRequest()
    quota = error_details_pb2.QuotaFailure()
    known: list[Any] = [info, retry, bad, quota]
    # Unpack fills the message it fits, and says whether it did.
    others = [detail for detail in status.details if not any(detail.Unpack(message) for message in known)]
    param = bad.field_violations[0].field if bad.field_violations else None
    waits = retry.HasField("retry_delay")
    return FAULTS.get(status.code, errors.Internal)(
        status.message,
        reason=info.reason,
        param=param,
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if waits else None,
        metadata=dict(info.metadata),
        details=tuple(others),
    )


def from_rpc(error: grpc.aio.AioRpcError) -> errors.Fault:
    """Read a failed call as the fault its server raised, or as what the channel met."""
    carrier: Any = error  # quacks like the grpc.Call that the stub asks for
    try:
        status = rpc_status.from_call(carrier)
    except ValueError:
        # The channel refused what the server sent, and has a code of its own for that.
        status = None
    if status is not None:
        return from_status(status)
    # The channel's own words name addresses; they are in the exception's chain for the log.
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return errors.Unavailable("a service cannot be reached", retry_after_s=1)
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.TimedOut("a service did not answer in time")
    return FAULTS.get(error.code().value[0], errors.Internal)(error.details() or "")


def to_rpc(fault: errors.Fault) -> grpc.Status:
    """The status a servicer aborts with."""
    return rpc_status.to_status(to_status(fault))


def to_failure(fault: errors.Fault) -> chat_pb2.Failure:
    """The same inside a batch."""
    return chat_pb2.Failure(
        code=_lookup(GRPC, fault),
        reason=fault.reason,
        message=shortened(fault.message),
        param=shortened(fault.param or ""),
        retry_after_ms=math.ceil((fault.retry_after_s or 0) * 1000),
    )


def from_failure(failure: chat_pb2.Failure) -> errors.Fault:
    """Unpack what `to_failure` packed."""
    return FAULTS.get(failure.code, errors.Internal)(
        failure.message,
        reason=failure.reason,
        param=failure.param or None,
        retry_after_s=failure.retry_after_ms / 1000 if failure.retry_after_ms else None,
    )


def to_http(fault: errors.Fault) -> tuple[int, dict[str, str], dict[str, Any]]:
    """HTTP status, headers and OpenAI's error object with all four keys."""
    status, headers = to_http_head(fault)
    return status, headers, to_http_error(fault)


def to_http_head(fault: errors.Fault) -> tuple[int, dict[str, str]]:
    """HTTP status and headers."""
    headers: dict[str, str] = {}
    if fault.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(fault.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(fault.retry_after_s * 1000)))
    headers |= {name: value for name, value in fault.metadata.items() if name.startswith("x-ratelimit-")}
    return _lookup(HTTP, fault)[0], headers


def to_http_error(fault: errors.Fault) -> dict[str, Any]:
    """OpenAI's error object with all four keys."""
    error = {
        "message": fault.message,
        "type": fault.metadata.get("type", _lookup(HTTP, fault)[1]),
        "param": fault.param,
        "code": fault.reason.lower(),
    }
    return {"error": error}
