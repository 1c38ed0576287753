"""The Lua scripts over the response cache; they put their keys together themselves, all in one slot of a cluster."""

from pathlib import Path

from services.chassis import redis_keys
from services.chassis.lua import Script

__all__ = ["FINISH", "LOOK_UP", "NAMED", "PURGE", "RENEW"]

# The key that every call names, so that it finds its server of a cluster.
NAMED = (redis_keys.CACHE_EXPIRING,)

KEYS = f"""
local ANSWER, FLIGHT, TENANT = '{redis_keys.CACHED_ANSWER}', '{redis_keys.CACHE_FLIGHT}', '{redis_keys.CACHE_TENANT}'
local EXPIRING, SIZES, HELD = '{redis_keys.CACHE_EXPIRING}', '{redis_keys.CACHE_SIZES}', '{redis_keys.CACHE_HELD}'
local QUESTIONS, LISTED = '{redis_keys.CACHE_QUESTIONS}', '{redis_keys.CACHE_LISTED}'
local TEXTS = '{redis_keys.CACHE_QUESTION_TEXTS}'
local PURGED = '{redis_keys.CACHE_PURGED}'
"""


def _script(name: str) -> Script:
    texts = [Path(__file__).with_name(f"{one}.lua").read_text(encoding="utf-8") for one in ("common", name)]
    return Script("\n".join((KEYS, *texts)))


LOOK_UP = _script("look_up")
RENEW = _script("renew")
FINISH = _script("finish")
PURGE = _script("purge")
