"""The Lua scripts over limits and budgets: admission, settlement, and the publication of what the ledger has written.

Scripts put their keys together themselves, all of one partition and so in one slot of a cluster.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from services.chassis import redis_keys
from services.chassis.lua import Script
from services.chassis.redis import Redis

__all__ = ["ADMIT", "ADMIT_TEXT", "PUBLISH", "SETTLE", "Count", "run_all"]


class Count(NamedTuple):
    """What `ADMIT_TEXT` is given, within another script of the same server, to count one request."""

    reservations: str
    argument: bytes


def _text(*names: str) -> str:
    return "\n".join(Path(__file__).with_name(f"{name}.lua").read_text(encoding="utf-8") for name in names)


ADMIT_TEXT = _text("common", "calendar", "admit")
ADMIT = Script(ADMIT_TEXT)
SETTLE = Script(_text("common", "settle"))
PUBLISH = Script(_text("common", "publish"))


async def run_all(script: Script, client: Redis, calls: Sequence[tuple[str, Any]]) -> list[Any]:
    """Run a script once for each partition and argument, which it takes as JSON, in one round trip.

    Raises:
        redis.ERRORS: as `Script.run_all`.
    """
    return await script.run_all(
        client, [((redis_keys.reservations(part),), (orjson.dumps(one),)) for part, one in calls]
    )
