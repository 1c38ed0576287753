"""Read a provider's error: its class, its message, and when to try again."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from services.executor.engines.outcomes import ErrorClass, Failed, classify

# Long enough for any sentence, short enough for a log.
LONGEST = 1000
# A longer wait is a mistake, such as a date read as seconds.
LONGEST_WAIT_S = 86400.0
# The status codes that the error types of OpenAI, Anthropic and Google stand for.
_STATUS_OF = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "context_length_exceeded": 400,
    "content_policy_violation": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "deadline_exceeded": 504,
    "timeout_error": 504,
    "unavailable": 503,
    "overloaded_error": 529,
}
# After these the provider may have generated something, and bill it; one that rejects the request has not.
_GENERATED = (ErrorClass.SERVER_ERROR, ErrorClass.OVERLOADED, ErrorClass.TIMEOUT)
_SECRETS = re.compile(r"\b(?:sk|pk|gsk|xai|key|AIza|Bearer )[-_A-Za-z0-9*.]{8,}")


def from_response(status_code: int, headers: Mapping[str, str], body: bytes, key: str | None) -> Failed:
    """The failure that an error response means. An error status bills nothing."""
    problem = _problem(body)
    message = str(
        problem.get("message") or body[:LONGEST].decode("utf-8", "replace") or f"HTTP {status_code}"
    )
    code = str(problem.get("code") or problem.get("type") or "")
    param = problem.get("param")
    return Failed(
        error=classify(status_code, f"{message} {code} {problem.get('type', '')}"),
        message=redacted(message, key),
        status_code=status_code,
        retry_after_s=_retry_after(headers, problem),
        headers=headers,
        param=param if isinstance(param, str) else None,
    )


def from_object(problem: Any, key: str | None = None) -> Failed:
    """The failure that an error object inside a success means, by its code or its type."""
    if not isinstance(problem, Mapping):
        problem = {"message": str(problem)}
    names = (problem.get("code"), problem.get("type"), problem.get("status"))
    codes = [name for name in names if isinstance(name, int) and 400 <= name < 600]
    codes += [
        _STATUS_OF[name.lower()] for name in names if isinstance(name, str) and name.lower() in _STATUS_OF
    ]
    failed = from_response(codes[0] if codes else 500, {}, orjson.dumps({"error": problem}), key)
    failed.status_code, failed.billed = 200, failed.error in _GENERATED
    return failed


def from_body(body: bytes, key: str | None) -> Failed | None:
    """The failure that a body or stream calling itself a success begins with; None when it does not."""
    if body.startswith(b"event:"):
        body = body.partition(b"\n")[2]
    text = body.removeprefix(b"data:").partition(b"\n\n")[0]
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict) or not data.get("error"):
        return None
    return from_object(data["error"], key)


def from_connection(
    error: Exception, *, connecting: bool, timed_out: bool, begun: bool, status_code: int
) -> Failed:
    """The failure that a broken connection means.

    Args:
        error: What the client library raised.
        connecting: Whether it happened before the provider could be reached.
        timed_out: Whether the provider was silent for too long.
        begun: Whether a part of the answer had come.
        status_code: The response's HTTP status; 0 when there was none.

    """
    what = type(error).__name__
    if connecting:
        return Failed(ErrorClass.CONNECTION, f"cannot connect: {what}")
    if begun:
        return Failed(ErrorClass.CUT, f"the connection broke: {what}", status_code, billed=True)
    if timed_out:
        return Failed(ErrorClass.TIMEOUT, f"no answer: {what}", status_code, billed=True)
    return Failed(ErrorClass.CONNECTION, f"the connection broke: {what}", status_code, billed=True)


def unaddressable(error: Exception) -> Failed:
    """A request that could not be sent as the deployment's address, headers or proxy are configured: our mistake."""
    return Failed(
        ErrorClass.INTERNAL,
        f"the deployment is misconfigured, so no request was sent: {type(error).__name__}",
    )


def redacted(text: str, key: str | None) -> str:
    """A provider's words without anything that looks like a key."""
    if key:
        text = text.replace(key, "***")
    # Half of an emoji, where a provider cut its text, is no text to protobuf.
    return _SECRETS.sub("***", text)[:LONGEST].encode("utf-8", "replace").decode()


def _problem(body: bytes) -> Mapping[str, Any]:
    """The error object of OpenAI, Anthropic and Gemini (who sends a list at times)."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return {}
    inner = parsed.get("error", parsed)
    if isinstance(inner, str):
        return {"message": inner}
    return inner if isinstance(inner, dict) else {}


def _retry_after(headers: Mapping[str, str], problem: Mapping[str, Any]) -> float | None:
    return next(_waits(headers, problem), None)


def _waits(headers: Mapping[str, str], problem: Mapping[str, Any]) -> Iterator[float]:
    if (found := _seconds(headers.get("retry-after-ms", ""))) is not None:
        yield found / 1000
    if after := headers.get("retry-after", ""):
        if (found := _seconds(after)) is not None:
            yield found
        else:
            # Neither seconds nor a date of any calendar is no hint at all.
            with suppress(ValueError, TypeError, OverflowError):
                yield min(LONGEST_WAIT_S, max(0.0, parsedate_to_datetime(after).timestamp() - time.time()))
    # Gemini sends it as google.rpc.RetryInfo.
    details = problem.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str) and (found := _seconds(delay.removesuffix("s"))) is not None:
            yield found


def _seconds(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return min(LONGEST_WAIT_S, found) if found >= 0 else None
