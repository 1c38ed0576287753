"""The Lua scripts over limits and budgets: admission, settlement, and the publication of what the ledger has written.

Scripts put their keys together themselves, all of one partition and so in one slot of a cluster.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from services.chassis import redis_keys
from services.chassis.lua import Script
from services.chassis.redis import Redis

__all__ = ["ADMIT", "PUBLISH", "SETTLE", "run_all"]


def _script(*names: str) -> Script:
    texts = [Path(__file__).with_name(f"{name}.lua").read_text(encoding="utf-8") for name in names]
    return Script("\n".join(texts))


ADMIT = _script("common", "calendar", "admit")
SETTLE = _script("common", "settle")
PUBLISH = _script("common", "publish")


async def run_all(script: Script, client: Redis, calls: Sequence[tuple[str, Any]]) -> list[Any]:
    """Run a script once for each partition and argument, which it takes as JSON, in one round trip.

    Raises:
        redis.ERRORS: as `Script.run_all`.
    """
    return await script.run_all(
        client, [((redis_keys.reservations(part),), (orjson.dumps(one),)) for part, one in calls]
    )
