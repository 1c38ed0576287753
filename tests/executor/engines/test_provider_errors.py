"""Errors that come inside a success are known by their codes, and cost nothing where nobody generated."""

from typing import Any

import pytest

from services.executor.engines.outcomes import ErrorClass
from services.executor.engines.provider_errors import told


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
    failed = told(problem)

    assert (error, billed, 200) == (failed.error, failed.billed, failed.status_code)
