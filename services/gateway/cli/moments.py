"""Moments as people write them: how long ago (7d, 24h, 90m), or a date."""

import re
from datetime import UTC, datetime, timedelta

from services.gateway.cli.client import RefusedError

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"^(\d{1,6})([mhdw])$")


def iso(name: str, text: str) -> str:
    """The moment that a text means, as ISO 8601 has it.

    Raises:
        RefusedError: it means none.
    """
    try:
        if found := _AGO.match(text):
            return (datetime.now(UTC) - timedelta(**{UNITS[found[2]]: int(found[1])})).isoformat()
        return datetime.fromisoformat(text).isoformat()
    except (ValueError, OverflowError):
        raise RefusedError(
            f"{name}: {text!r} is no time; write how long ago, such as 7d, 24h or 90m, or a date such as 2026-11-15"
        ) from None
