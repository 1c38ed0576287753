"""The Lua scripts of admission, settlement and the ledger; each names its keys itself, all of them in one slot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from services.chassis.lua import Script
from services.chassis.redis import Redis

__all__ = ["ACKNOWLEDGE", "ADMIT", "BOOK", "SETTLE", "run_all"]


def _script(name: str) -> Script:
    return Script(Path(__file__).with_name(f"{name}.lua").read_text(encoding="utf-8"))


ADMIT = _script("admit")
SETTLE = _script("settle")
BOOK = _script("book")
ACKNOWLEDGE = _script("acknowledge")


async def run_all(script: Script, client: Redis, questions: Sequence[Any]) -> list[Any]:
    """Run a script once for each question, which it takes as JSON, in one round trip.

    Raises:
        redis.ERRORS: as `Script.run_all`.
    """
    return await script.run_all(client, [((), (orjson.dumps(question),)) for question in questions])
