"""No key of Redis is spelled anywhere but in `redis_keys`."""

import re
from pathlib import Path

from services.chassis import redis_keys

SERVICES = Path(__file__).parents[2] / "services"
# The prefix of all keys, in a text or as its constant; a message has a space behind the colon.
SPELLED = re.compile(rf"\b{redis_keys.PREFIX}:(?!//)\S|\bPREFIX}}:")


def test_only_one_module_spells_keys() -> None:
    files = [path for path in SERVICES.rglob("*") if path.suffix in (".py", ".lua")]

    assert [SERVICES / "chassis" / "redis_keys.py"] == [
        path for path in files if SPELLED.search(path.read_text())
    ]


def test_everything_one_script_touches_is_in_one_slot_of_a_cluster() -> None:
    keys = (
        redis_keys.reservations(),
        redis_keys.reservation("r"),
        redis_keys.rate("key:k"),
        redis_keys.live("key:k"),
        redis_keys.held("key:k"),
        redis_keys.spent("key:k", "total"),
    )

    assert {"{money}"} == {re.findall(r"\{.*?\}", key)[0] for key in keys}
