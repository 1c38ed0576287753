"""What remains by a provider's own headers."""

import pytest

from services.executor.capacity.quota_headers import headroom


def test_the_headers_of_each_provider_are_read() -> None:
    openai = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m2.5s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6ms",
    }
    anthropic = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "1970-01-01T08:00:00Z",
    }

    def read(headers: dict[str, str]) -> list[tuple[str, int, int, float]]:
        found = headroom(headers, 1000.0)
        return [(one.quota, one.total, one.remaining, one.resets_unix_s) for one in found]

    assert read(openai) == [("rpm", 60, 59, 1062.5), ("tpm", 150000, 0, 1000.006)]
    assert read(anthropic) == [("rpm", 50, 49, 8 * 3600.0)]
    assert read({"x-ratelimit-limit-requests": "many"}) == []


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1795000060", 60.0),
        ("1795000060000", 60.0),
        ("60", 60.0),
        ("nan", 60.0),
        ("inf", 60.0),
        ("-inf", 60.0),
        ("1e400", 60.0),
        ("9" * 400 + "s", 86400.0),
        ("900000", 86400.0),
        ("9999-12-31T23:59:59Z", 86400.0),
        ("soon", 60.0),
        ("", 60.0),
    ],
)
def test_no_reset_pauses_a_deployment_for_more_than_a_day(reset: str, seconds: float) -> None:
    headers = {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": reset,
    }
    [found] = headroom(headers, 1_795_000_000.0)

    assert found.resets_unix_s - 1_795_000_000 == seconds


@pytest.mark.parametrize("count", ["\u00b2", "9" * 30, "9" * 5000, "-1", "1.5", ""])
def test_a_count_that_is_none_is_passed_over(count: str) -> None:
    headers = {"x-ratelimit-limit-requests": count, "x-ratelimit-remaining-requests": count}

    assert headroom(headers, 1000.0) == []
