"""Money: integer nano-USD everywhere inside, US dollars for people and JSON."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

__all__ = ["LARGEST_USD", "NANO", "nano", "nano_per_million", "usd"]

NANO = 1_000_000_000
# Redis computes with doubles, which are exact up to here.
LARGEST_USD = 9_000_000


def nano(amount_usd: Decimal | float | str | int) -> int:
    """US dollars as nano-USD, exact for a text or a Decimal.

    Raises:
        ValueError: no amount from 0 to `LARGEST_USD`, or finer than a nano-dollar.
    """
    try:
        amount = Decimal(str(amount_usd)) * NANO
    except InvalidOperation:
        amount = Decimal("nan")
    if (
        not amount.is_finite()
        or not 0 <= amount <= LARGEST_USD * NANO
        or amount != amount.to_integral_value()
    ):
        raise ValueError(f"expected US dollars from 0 to {LARGEST_USD:,}, with at most nine decimals")
    return int(amount)


def nano_per_million(usd_for_one: float | str) -> int:
    """The price of one token, character or second as that of a million, in nano-USD.

    Exact, but for what is finer than a nano-dollar per million, which is rounded half up.
    """
    return int((Decimal(str(usd_for_one)) * NANO * 10**6).quantize(Decimal(1), ROUND_HALF_UP))


def usd(nano_usd: float) -> float:
    """Nano-USD as the nearest double in US dollars; sums are made of the integers, never of this."""
    return nano_usd / NANO
