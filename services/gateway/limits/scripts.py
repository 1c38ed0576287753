"""The Lua scripts over limits and budgets: admission, settlement, and the publication of what the ledger has written.

Scripts put their keys together themselves, all in one slot of a cluster, from the prefixes that `redis_keys` spells.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from services.chassis import redis_keys
from services.chassis.lua import Script
from services.chassis.redis import Redis

__all__ = ["ADMIT", "PUBLISH", "SETTLE", "run_all"]

KEYS = f"""
local PREFIX = {{
  reservation = '{redis_keys.RESERVATION}', rate = '{redis_keys.RATE}', live = '{redis_keys.LIVE}',
  held = '{redis_keys.HELD}', spent = '{redis_keys.SPENT}',
}}
local RESERVATIONS = '{redis_keys.RESERVATIONS}'
"""


def _script(*names: str) -> Script:
    texts = [Path(__file__).with_name(f"{name}.lua").read_text(encoding="utf-8") for name in names]
    return Script("\n".join((KEYS, *texts)))


ADMIT = _script("common", "calendar", "admit")
SETTLE = _script("common", "settle")
PUBLISH = _script("common", "publish")


async def run_all(script: Script, client: Redis, arguments: Sequence[Any]) -> list[Any]:
    """Run a script once for each argument, which it takes as JSON, in one round trip.

    Raises:
        redis.ERRORS: as `Script.run_all`.
    """
    return await script.run_all(client, [((), (orjson.dumps(one),)) for one in arguments])
