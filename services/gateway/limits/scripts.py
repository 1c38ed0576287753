"""Lua scripts that Redis runs atomically, many calls in one round trip."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from redis.exceptions import NoScriptError

from services.chassis import redis

FOLDER = Path(__file__).parent


class Script:
    """One script that takes one JSON argument; it names its keys itself, all of them in one slot."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        """Read `name`.lua of this folder."""
        self._redis = client
        self._text = (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        # Redis itself names scripts so.
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, asks: Sequence[Any]) -> list[Any]:
        """Run it once for each ask, in order; an answer that is an exception is that of its ask alone.

        Raises:
            redis.ERRORS: Redis did not answer; which of the asks it has run is not known.
        """
        texts = [orjson.dumps(ask) for ask in asks]
        answers = await self._run(texts)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            await self._redis.script_load(self._text)
            for i, answer in zip(missing, await self._run([texts[i] for i in missing]), strict=True):
                answers[i] = answer
        return answers

    async def _run(self, texts: Sequence[bytes]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for text in texts:
                pipe.evalsha(self._digest, 0, text)
            return list(await pipe.execute(raise_on_error=False))
