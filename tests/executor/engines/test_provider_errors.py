"""What a provider's error means, as a response of its own or inside a success."""

from typing import Any

import pytest

from services.executor.engines import provider_errors
from services.executor.engines.outcomes import ErrorClass


@pytest.mark.parametrize(
    ("problem", "error", "billed"),
    [
        ({"type": "invalid_request_error", "message": "no"}, ErrorClass.BAD_REQUEST, False),
        ({"code": "invalid_prompt", "message": "no"}, ErrorClass.BAD_REQUEST, False),
        ({"code": "context_length_exceeded", "message": "too long"}, ErrorClass.CONTEXT_LENGTH, False),
        ({"type": "rate_limit_error", "message": "slow down"}, ErrorClass.RATE_LIMIT, False),
        ({"code": "insufficient_quota", "message": "pay"}, ErrorClass.QUOTA, False),
        ({"type": "overloaded_error", "message": "busy"}, ErrorClass.OVERLOADED, True),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}, ErrorClass.RATE_LIMIT, False),
        ({"code": 503, "status": "UNAVAILABLE", "message": "busy"}, ErrorClass.OVERLOADED, True),
        ({"code": "rate_limit_exceeded", "type": "requests"}, ErrorClass.RATE_LIMIT, False),
        ({"type": "api_error", "message": "oops"}, ErrorClass.SERVER_ERROR, True),
        ("oops", ErrorClass.SERVER_ERROR, True),
    ],
)
def test_an_error_inside_a_success_is_known_by_its_code(
    problem: Any, error: ErrorClass, billed: bool
) -> None:
    failed = provider_errors.from_object(problem)

    assert (error, billed, 200) == (failed.error, failed.billed, failed.status_code)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, b"", 1.5),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"", 0.0),
        ({}, b'[{"error":{"message":"m","details":[{"@type":"RetryInfo","retryDelay":"34.5s"}]}}]', 34.5),
        ({}, b"<html>", None),
    ],
)
def test_a_provider_may_name_the_time_of_the_next_try_in_many_ways(
    headers: dict[str, str], body: bytes, seconds: float | None
) -> None:
    assert provider_errors.from_response(429, headers, body, None).retry_after_s == seconds


def test_an_error_repeats_no_key() -> None:
    failed = provider_errors.from_response(
        401,
        {},
        b'{"error":{"message":"Incorrect API key provided: sk-proj-abc123456789 or my-odd-key"}}',
        "my-odd-key",
    )

    assert failed.message == "Incorrect API key provided: *** or ***"


def test_half_of_an_emoji_in_a_providers_words_is_replaced_as_no_message_can_carry_it() -> None:
    assert "cannot go on after ?" == provider_errors.redacted("cannot go on after \ud83d", None)
