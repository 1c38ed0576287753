"""Fields of the previous generation's rows, read strictly: what cannot be kept as it is refuses its row."""

import math
from datetime import UTC, datetime
from typing import Any

from services.chassis import money
from services.gateway.keys.fields import IDENT

# No moment of a previous generation lies outside; milliseconds that are taken for seconds do.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
# In one row; far above any model's context, and sums of such rows stay whole numbers of 64 bits.
MOST_TOKENS = 10**12
# Characters of a name, such as a model's.
LONGEST_TEXT = 1024


def moment(name: str, value: Any) -> datetime:
    """A moment as text (ISO 8601, UTC without a zone) or as seconds since 1970."""
    try:
        if isinstance(value, int | float):
            found = datetime.fromtimestamp(value, UTC)
        else:
            found = datetime.fromisoformat(str(value))
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None or not EARLIEST <= found < LATEST:
        raise ValueError(
            f"{name}: {_shown(value)} is no moment; expected ISO 8601 or seconds since 1970, "
            f"from {EARLIEST.year} to {LATEST.year - 1}"
        )
    return found


def text(name: str, value: Any) -> str:
    """A name; nothing is the empty one."""
    found = "" if value is None else str(value)
    if isinstance(value, bytes) or "\0" in found or len(found) > LONGEST_TEXT:
        raise ValueError(f"{name}: expected at most {LONGEST_TEXT} characters of UTF-8, none of them NUL")
    return found


def user(value: Any) -> str:
    """The id of a user; nothing is none."""
    found = text("user_id", value)
    if found and not IDENT.fullmatch(found):
        raise ValueError(
            "user_id: expected at most 128 letters, digits and _ . @ + -, beginning with a letter or digit"
        )
    return found


def tokens(name: str, value: Any) -> int:
    """A number of tokens; nothing is 0."""
    try:
        number = int(value or 0)
    except (ValueError, OverflowError):
        number = -1
    if not 0 <= number <= MOST_TOKENS:
        raise ValueError(f"{name}: {_shown(value)}; expected a whole number from 0 to {MOST_TOKENS:,}")
    return number


def nano_usd(name: str, value: Any) -> int:
    """A cost in US dollars, to the nearest nano-dollar; nothing is 0."""
    try:
        return money.nano(round(float(value or 0), 9))
    except ValueError:
        raise ValueError(
            f"{name}: {_shown(value)}; expected US dollars from 0 to {money.LARGEST_USD:,}"
        ) from None


def milliseconds(name: str, value: Any) -> float:
    """A duration; nothing is 0."""
    try:
        found = float(value or 0)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(f"{name}: {_shown(value)}; expected milliseconds from 0")
    return found


def _shown(value: Any) -> str:
    """A value as a message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
