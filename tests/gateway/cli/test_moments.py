"""Moments as people write them on the command line."""

from datetime import UTC, datetime, timedelta

import pytest

from services.gateway.cli import moments
from services.gateway.cli.client import RefusedError


def test_a_while_ago_counts_from_now() -> None:
    before = datetime.now(UTC)

    found = datetime.fromisoformat(moments.iso("--since", "90m"))

    assert before <= found + timedelta(minutes=90) <= datetime.now(UTC)


def test_a_date_is_that_day() -> None:
    assert "2026-11-15T00:00:00" == moments.iso("--since", "2026-11-15")


@pytest.mark.parametrize("text", ["", "7", "7y", "yesterday", "999999w", "2026-13-01"])
def test_what_is_no_moment_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(RefusedError, match=r"^--since: .* is no time; write how long ago"):
        moments.iso("--since", text)
