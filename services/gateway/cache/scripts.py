"""The Lua scripts over the response cache; they put their keys together themselves, all in one slot of a cluster."""

from pathlib import Path

from services.chassis import redis_keys
from services.chassis.lua import Script
from services.gateway.limits.scripts import ADMIT_TEXT

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


# The admission of limits/admit.lua as a function of its keys and arguments, so that an answer is found and its request
# counted in one step.
COUNT = f"""
local function count(KEYS, ARGV)
{ADMIT_TEXT}
end
"""


def _script(name: str, before: str = "") -> Script:
    texts = [Path(__file__).with_name(f"{one}.lua").read_text(encoding="utf-8") for one in ("common", name)]
    return Script("\n".join((before, KEYS, *texts)))


LOOK_UP = _script("look_up", COUNT)
RENEW = _script("renew")
FINISH = _script("finish")
PURGE = _script("purge")
