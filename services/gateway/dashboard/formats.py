"""Numbers and moments as people read them. Money is never a float here."""

from datetime import UTC, datetime
from decimal import Decimal

from markupsafe import Markup

from services.chassis.money import NANO

# What is shown where nothing is known.
NOTHING = "n/a"
# US dollars from which on cents are enough, and from which on a hundredth of a cent is.
CENTS_FROM = Decimal(1)
FINE_FROM = Decimal("0.01")
# Digits of what is smaller.
DIGITS = 2
MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400


def money(nano_usd: int | None) -> Markup:
    """An amount, rounded for the eye; the exact one is its value, and what the pointer shows."""
    if nano_usd is None:
        return Markup('<span class="faint" title="nobody knows the price">{}</span>').format(NOTHING)
    exact = plain_usd(nano_usd)
    return Markup('<data value="{}" title="{} USD">{}</data>').format(exact, exact, short_usd(nano_usd))


def plain_usd(nano_usd: int) -> str:
    """US dollars with all their decimals."""
    text = f"{Decimal(nano_usd) / NANO:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short_usd(nano_usd: int) -> str:
    """US dollars with as many decimals as are of use."""
    amount = abs(Decimal(nano_usd) / NANO)
    sign = "-" if nano_usd < 0 else ""
    if not amount or amount >= CENTS_FROM:
        return f"{sign}${amount:,.2f}"
    if amount >= FINE_FROM:
        return f"{sign}${amount:.4f}"
    # As many zeros as it has, and two digits more.
    return f"{sign}${amount:.{DIGITS - amount.adjusted() - 1}f}"


def count(number: int | None) -> str:
    """A whole number with thousands set apart."""
    return NOTHING if number is None else f"{number:,}"


def compact(number: int | None) -> str:
    """A whole number for where there is little room, such as 1.2k."""
    if number is None:
        return NOTHING
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= size:
            base = 1000 if unit == "k" else size
            return f"{number / base:.1f}{unit}"
    return f"{number:,}"


def percent(part: float | None) -> str:
    """A share, 0 to 1, in per cent."""
    if part is None:
        return NOTHING
    return f"{part:.1%}" if 0 < abs(part) < 0.1 else f"{part:.0%}"


def milliseconds(number: float | None) -> str:
    """A duration, in milliseconds or seconds."""
    if number is None:
        return NOTHING
    # What would be shown as 1000 ms is shown as 1.0 s.
    if round(number) < 1000:
        return f"{number:.0f} ms"
    return f"{number / 1000:.1f} s"


def day(when: datetime) -> Markup:
    """The day of a moment in UTC."""
    when = when.astimezone(UTC)
    return Markup('<time datetime="{0}">{0}</time>').format(when.strftime("%Y-%m-%d"))


def moment(when: datetime | None) -> Markup:
    """A moment in UTC, to the second."""
    if when is None:
        return Markup.escape(NOTHING)
    when = when.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        when.isoformat(), when.strftime("%Y-%m-%d %H:%M:%S")
    )


def seconds(number: float) -> str:
    """A span of time in its largest unit, such as 12 min."""
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if number >= size:
            return f"{number / size:.0f} {unit}"
    return f"{number:.0f} s"


def words(name: str) -> str:
    """A name of the contract as words."""
    return name.replace("_", " ")
