"""Fields of other systems' rows, read strictly: what cannot be kept as it is refuses its row, by its name."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from services.chassis import money
from services.gateway.keys.columns import IDENT

# No moment of another system lies outside; milliseconds that are taken for seconds do.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
# In one row; far above any model's context, and sums of such rows stay whole numbers of 64 bits.
MOST_TOKENS = 10**12
# Characters of a name, such as a model's.
LONGEST_TEXT = 1024
# The columns of limits are whole numbers of 32 bits; no gateway reaches so many in a minute.
MOST_LIMIT = 2**31 - 1
# What is left of an id that may not be kept, beside the digest that keeps two such ids apart.
KEPT = 100


def moment(name: str, value: Any) -> datetime:
    """A moment as text (ISO 8601, UTC without a zone), as seconds since 1970, or as a database has it.

    Raises:
        ValueError: it is none, or from no time that can be meant.
    """
    try:
        if isinstance(value, int | float):
            found = datetime.fromtimestamp(value, UTC)
        else:
            found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None or not EARLIEST <= found < LATEST:
        raise ValueError(
            f"{name}: {_shown(value)} is no moment; expected ISO 8601 or seconds since 1970, "
            f"from {EARLIEST.year} to {LATEST.year - 1}"
        )
    return found


def moment_or_none(name: str, value: Any) -> datetime | None:
    """A moment; nothing is none.

    Raises:
        ValueError: as `moment`.
    """
    return moment(name, value) if value else None


def text(name: str, value: Any) -> str:
    """A name; nothing is the empty one.

    Raises:
        ValueError: it is too long, or cannot be stored.
    """
    found = "" if value is None else str(value)
    if isinstance(value, bytes) or "\0" in found or len(found) > LONGEST_TEXT:
        raise ValueError(f"{name}: expected at most {LONGEST_TEXT} characters of UTF-8, none of them NUL")
    return found


def ident(name: str, value: Any) -> str:
    """An id of a user or an organization as it may be here; nothing is none.

    One that has other characters than ids have here, such as `auth0|7`, becomes one that has not, always the same, with
    a part of its digest behind it.

    Raises:
        ValueError: as `text`.
    """
    found = text(name, value)
    if not found or IDENT.fullmatch(found):
        return found
    legible = re.sub(r"[^A-Za-z0-9_.@+-]", "_", found)[:KEPT].lstrip("_.@+-")
    return f"{legible or 'id'}-{hashlib.sha256(found.encode()).hexdigest()[:12]}"


def whole(name: str, value: Any, most: int = MOST_TOKENS) -> int:
    """A number of tokens or requests; nothing is 0.

    Raises:
        ValueError: it is no whole number, or not within bounds.
    """
    try:
        number = int(value or 0)
    except (ValueError, OverflowError, TypeError):
        number = -1
    if not 0 <= number <= most:
        raise ValueError(f"{name}: {_shown(value)}; expected a whole number from 0 to {most:,}")
    return number


def limit(name: str, value: Any) -> int | None:
    """A limit of requests or tokens in a minute, or at a time; nothing is none.

    Raises:
        ValueError: it is no whole number, or 0, which refuses everything elsewhere and nothing here.
    """
    if value is None:
        return None
    found = whole(name, value)
    if not found:
        raise ValueError(
            f"{name}: 0 refuses every request there and is no limit here; block the key there, or remove the limit"
        )
    return min(found, MOST_LIMIT)


def dollars(name: str, value: Any) -> Decimal:
    """A cost in US dollars with all its decimals; nothing is 0.

    A double counts as the shortest decimal that means it, which is what databases and JSON print.

    Raises:
        ValueError: it is no amount, or below 0.
    """
    try:
        amount = Decimal(str(value or 0))
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or not 0 <= amount <= money.LARGEST_USD:
        raise ValueError(f"{name}: {_shown(value)}; expected US dollars from 0 to {money.LARGEST_USD:,}")
    return amount


def budget(name: str, value: Any) -> int | None:
    """A budget in US dollars as nano-dollars, rounded down; nothing is none.

    Raises:
        ValueError: as `dollars`.
    """
    return None if value is None else int(dollars(name, value) * money.NANO)


def milliseconds(name: str, value: Any) -> float:
    """A duration; nothing is 0.

    Raises:
        ValueError: it is none.
    """
    try:
        found = float(value or 0)
    except (ValueError, TypeError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ValueError(f"{name}: {_shown(value)}; expected milliseconds from 0")
    return found


def flag(name: str, value: Any) -> bool:
    """Yes or no, as files write it; nothing is no.

    Raises:
        ValueError: it is neither.
    """
    word = str("" if value is None else value).lower()
    if word in ("true", "1", "yes", "t"):
        return True
    if word in ("false", "0", "no", "f", ""):
        return False
    raise ValueError(f"{name}: {_shown(value)}; expected true or false")


def mapping(name: str, value: Any) -> dict[str, Any]:
    """An object of JSON; nothing is the empty one.

    Raises:
        ValueError: it is another kind of JSON.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected an object, not {type(value).__name__}")  # noqa: TRY004  (of a row)
    return dict(value)


def _shown(value: Any) -> str:
    """A value as a message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
