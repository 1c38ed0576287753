"""Refusals that are given late to those who send too much.

Whoever sends again as soon as it is refused would otherwise be refused thousands of times a second, which takes CPU
from everybody. A refusal that is held takes none, and its sender waits; a body over HTTP is not read meanwhile. Each is
held for another time, as hundreds that come together would come together again.
"""

import asyncio
import random

# How long a refusal is held on average, in seconds: less than a refused caller is told to wait.
HOLD_S = 0.5
# By how much, as a share, a refusal is held for less or longer than that.
SPREAD = 0.5


class HeldRefusals:
    """A bounded number of refusals that are held at once."""

    def __init__(self, most: int, hold_s: float = HOLD_S) -> None:
        """Begin with none.

        Args:
            most: So many are held at once, the others not at all.
            hold_s: For how long on average, in seconds.
        """
        self._most = most
        self._hold_s = hold_s
        self._held = 0

    async def hold(self) -> None:
        """Wait before a refusal; not at all when too many do."""
        if self._held == self._most:
            return
        self._held += 1
        try:
            await asyncio.sleep(self._hold_s * random.uniform(1 - SPREAD, 1 + SPREAD))
        finally:
            self._held -= 1
