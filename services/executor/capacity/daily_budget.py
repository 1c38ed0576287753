"""An amount of money that may be spent in a day."""

import time
from collections.abc import Callable

DAY_S = 86_400


class DailyBudget:
    """What is left of a day's amount; days begin at midnight, UTC.

    Args:
        nano_usd: The amount.
        now: Seconds since 1970.
    """

    def __init__(self, nano_usd: int, now: Callable[[], float] = time.time) -> None:
        self._nano_usd = nano_usd
        self._now = now
        self._day = 0
        self._taken = 0

    def take(self, nano_usd: int) -> bool:
        """Take a part of it, if so much is left today."""
        today = int(self._now() // DAY_S)
        if today != self._day:
            self._day, self._taken = today, 0
        if self._taken + nano_usd > self._nano_usd:
            return False
        self._taken += nano_usd
        return True
