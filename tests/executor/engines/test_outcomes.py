"""Every HTTP error has its class."""

import pytest

from services.executor.engines.outcomes import ErrorClass, classify


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (400, "Invalid value", ErrorClass.BAD_REQUEST),
        (400, "This model's maximum context length is 8192 tokens", ErrorClass.CONTEXT_LENGTH),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", ErrorClass.CONTEXT_LENGTH),
        (
            400,
            "The input token count (1100000) exceeds the maximum number of tokens allowed",
            ErrorClass.CONTEXT_LENGTH,
        ),
        (400, "rejected as a result of our safety system", ErrorClass.CONTENT_POLICY),
        (422, "unprocessable", ErrorClass.BAD_REQUEST),
        (429, "Rate limit reached", ErrorClass.RATE_LIMIT),
        (429, "You exceeded your current quota insufficient_quota", ErrorClass.QUOTA),
        (402, "Payment Required", ErrorClass.QUOTA),
        (418, "teapot", ErrorClass.BAD_REQUEST),
        (500, "context length", ErrorClass.SERVER_ERROR),
        (599, "", ErrorClass.SERVER_ERROR),
    ],
)
def test_a_status_and_its_words_make_a_class(status: int, text: str, error: ErrorClass) -> None:
    assert classify(status, text) is error
