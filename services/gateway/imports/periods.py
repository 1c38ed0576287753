"""Periods of budgets: other gateways have any length of time, here there are day, week, month and total."""

import re

DAY_S = 86_400
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S, "mo": 30 * DAY_S}
WORDS = {"daily": "day", "weekly": "week", "monthly": "month"}
# What LiteLLM itself begins anew at midnight, on Monday and on the first of the month.
EQUAL = {DAY_S: "day", 7 * DAY_S: "week", 30 * DAY_S: "month"}


def period(name: str, duration: str | None) -> tuple[str, bool]:
    """The period of a budget, and whether it is just the source's.

    Any other length becomes the shortest period that is not shorter, so that no more can be spent than there.

    Raises:
        ValueError: this is no length of time.
    """
    if not duration:
        return "total", True
    if word := WORDS.get(duration):
        return word, True
    found = re.fullmatch(r"([1-9]\d{0,5})(s|mo|m|h|d|w)", duration)
    if found is None:
        raise ValueError(
            f"{name}: {duration[:40]!r} is no length of time; expected one such as 1d, 7d, 30d or 1mo"
        )
    seconds = int(found[1]) * SECONDS[found[2]]
    if equal := EQUAL.get(seconds):
        return equal, True
    return next((word for most, word in EQUAL.items() if seconds < most), "total"), False
