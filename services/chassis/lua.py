"""Lua scripts that Redis runs atomically: the one way to run them, alone or many in one round trip.

A script names at least one of its keys: by that it finds its server of a cluster.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError

from services.chassis import redis
from services.chassis.redis import Redis

__all__ = ["Script"]

Keys: TypeAlias = Sequence[str]
Arguments: TypeAlias = Sequence[str | bytes | int | float]


class Script:
    """One script, sent by its digest; Redis is given the text only when it does not know it."""

    def __init__(self, text: str) -> None:
        self._text = text
        # Redis itself names scripts so.
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, keys: Keys, arguments: Arguments = ()) -> Any:
        """Run it once.

        Raises:
            redis.ERRORS: Redis did not answer, or the script failed.
        """
        try:
            return await client.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *arguments)

    async def run_all(self, client: Redis, calls: Sequence[tuple[Keys, Arguments]]) -> list[Any]:
        """Run it once for each call, in order and in one round trip; an exception among the answers is that call's.

        Raises:
            redis.ERRORS: Redis did not answer; which of the calls it has run is not known.
        """
        answers = await self._send(client, calls, "EVALSHA", self._digest)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            # The text with each call: which servers lack the script is not known.
            again = await self._send(client, [calls[i] for i in missing], "EVAL", self._text)
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        return answers

    async def _send(
        self, client: Redis, calls: Sequence[tuple[Keys, Arguments]], command: str, script: str
    ) -> list[Any]:
        return await redis.exchange(
            client, [(command, script, len(keys), *keys, *arguments) for keys, arguments in calls]
        )
