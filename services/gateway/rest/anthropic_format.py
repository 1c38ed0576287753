"""Anthropic's conventions: errors with a type of its own, and events with a name."""

from collections.abc import Mapping

import orjson

from services.chassis import errors, status, telemetry
from services.gateway.rest.api_format import ApiFormat, event_of

_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def _error(fault: errors.Fault) -> bytes:
    code, _, body = status.to_http(fault)
    shown = body["error"]
    error = {"type": _TYPES.get(code, "api_error"), "message": shown["message"]}
    # Anthropic names no field; clients that know ours find it where OpenAI has it.
    error |= {"param": shown["param"], "code": shown["code"]}
    return orjson.dumps({"type": "error", "error": error, "request_id": telemetry.request_id.get()})


ANTHROPIC = ApiFormat(
    error=_error,
    event=event_of,
    error_event=lambda fault: b"event: error\ndata: %b\n\n" % _error(fault),
    end=b"",
)
