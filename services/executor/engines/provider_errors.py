"""Read a provider's refusal: what class it is, what the provider said, and when to come back."""

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
# A longer wait is a date in the wrong place.
LONGEST_WAIT_S = 86400.0
# The words of OpenAI, Anthropic and Google for what their status codes say elsewhere.
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
# After these the provider may have generated something, and bill it; whoever refuses has not.
_GENERATED = (ErrorClass.SERVER_ERROR, ErrorClass.OVERLOADED, ErrorClass.TIMEOUT)
_SECRETS = re.compile(r"\b(?:sk|pk|gsk|xai|key|AIza|Bearer )[-_A-Za-z0-9*.]{8,}")


def refusal(status_code: int, headers: Mapping[str, str], body: bytes, key: str | None) -> Failed:
    """Turn an error response into what the walk understands. An error status bills nothing."""
    problem = _problem(body)
    said = str(problem.get("message") or body[:LONGEST].decode("utf-8", "replace") or f"HTTP {status_code}")
    code = str(problem.get("code") or problem.get("type") or "")
    param = problem.get("param")
    return Failed(
        error=classify(status_code, f"{said} {code} {problem.get('type', '')}"),
        message=clean(said, key),
        status_code=status_code,
        retry_after_s=_retry_after(headers, problem),
        headers=headers,
        param=param if isinstance(param, str) else None,
        code=code,
    )


def told(problem: Any, key: str | None = None) -> Failed:
    """Turn an error that came inside a success into what the walk understands, by its code or its type."""
    if not isinstance(problem, Mapping):
        problem = {"message": str(problem)}
    names = (problem.get("code"), problem.get("type"), problem.get("status"))
    codes = [name for name in names if isinstance(name, int) and 400 <= name < 600]
    codes += [
        _STATUS_OF[name.lower()] for name in names if isinstance(name, str) and name.lower() in _STATUS_OF
    ]
    failed = refusal(codes[0] if codes else 500, {}, orjson.dumps({"error": problem}), key)
    failed.status_code, failed.billed = 200, failed.error in _GENERATED
    return failed


def clean(said: str, key: str | None) -> str:
    """A provider's words without anything that looks like a key."""
    if key:
        said = said.replace(key, "***")
    return _SECRETS.sub("***", said)[:LONGEST]


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
            # Neither seconds nor a date is nothing we understand.
            with suppress(ValueError):
                yield min(LONGEST_WAIT_S, max(0.0, parsedate_to_datetime(after).timestamp() - time.time()))
    # Gemini says it in google.rpc.RetryInfo.
    for detail in problem.get("details") or ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str) and (found := _seconds(delay.removesuffix("s"))) is not None:
            yield found


def _seconds(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return min(LONGEST_WAIT_S, found) if found >= 0 else None
