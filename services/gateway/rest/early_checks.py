"""What a request of a caller must pass before anything of its body is read.

Whatever is refused here has cost a look at its key.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis import errors, stages
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Limits
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import Attempt, MistakeLimit


class EarlyChecks:
    """The key, what it is known to be refused for, and a place among the requests that run at once."""

    def __init__(
        self, keys: Authenticator, limiter: ConcurrencyLimiter, mistakes: MistakeLimit, limits: Limits
    ) -> None:
        self._keys = keys
        self._limiter = limiter
        self._mistakes = mistakes
        self._limits = limits

    async def refusal(self, key: str) -> tuple[Caller, errors.Fault] | None:
        """Who shows a key, and what a request of theirs is sure to be refused for; None if it may go on."""
        caller = self._keys.remembered(key)
        if caller is None:
            return None
        fault = (
            await self._limiter.refusal(caller)
            or self._limits.refusal(caller)
            or self._mistakes.refusal(caller.key_id)
        )
        return (caller, fault) if fault else None

    @asynccontextmanager
    async def passed(self, key: str) -> AsyncIterator[tuple[Caller, Attempt]]:
        """Who shows a key, with a place until the block ends; counts the request if it turns out to be wrong there.

        Raises:
            Unauthenticated: the key is not good.
            Exhausted: the caller has sent too many wrong requests, or has its share of places.
            Unavailable: keys cannot be checked, or there is no place.
        """
        with stages.stage("authenticate"):
            caller = await self._keys.caller(key)
        with self._mistakes.guarding(caller.key_id) as attempt:
            async with self._limiter.slot(caller):
                yield caller, attempt
