"""The grants of Redis' users hold what the services' scripts call."""

import re
from pathlib import Path

import pytest

from services.chassis import redis_acl, redis_keys

SERVICES = Path(__file__).parents[2] / "services"
CALL = re.compile(r"redis\.call\('(\w+)'(?:, '([A-Z]+)')?")
# Which users run the scripts of a folder.
RUN_BY = {
    "gateway/limits": ("gateway", "ledger"),
    "gateway/ledger": ("ledger",),
    "executor/capacity": ("executor",),
}
# Of admission, which the ledger does not run.
ADMISSION = {"get", "hset", "zcard", "zremrangebyscore", "incrby"}


@pytest.mark.parametrize("folder", RUN_BY)
def test_what_scripts_call_is_granted(folder: str) -> None:
    texts = [path.read_text() for path in (SERVICES / folder).iterdir() if path.suffix in (".lua", ".py")]
    called = {
        "|".join(filter(None, match.groups())).lower() for text in texts for match in CALL.finditer(text)
    }

    assert called
    for user in RUN_BY[folder]:
        granted = {command for grant in redis_acl.USERS[user] for command in grant.commands}
        assert called - granted <= (ADMISSION if user == "ledger" else set()), user


def test_only_gateway_and_ledger_have_anything_to_do_with_money() -> None:
    near = {
        user
        for user, grants in redis_acl.USERS.items()
        for grant in grants
        for key in grant.keys
        if key.startswith(redis_keys.reservations("money*").rpartition(":")[0]) or key == "*"
    }

    assert {"gateway", "ledger"} == near


def test_a_line_of_configuration_holds_a_digest_and_no_password() -> None:
    digests = {user: redis_acl.digest(f"canary-{user}") for user in redis_acl.USERS}

    text = "\n".join(redis_acl.lines(digests))

    assert "canary" not in text
    assert [f"user {user} on #{digests[user]}" for user in redis_acl.USERS] == [
        line[: len(f"user {user} on #") + 64]
        for user, line in zip(redis_acl.USERS, text.splitlines(), strict=True)
    ]
