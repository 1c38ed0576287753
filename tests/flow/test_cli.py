"""The command line client against the running gateway."""

import asyncio
import os
import sys

from tests.flow.stack import ADMIN_KEY, API_KEY, Stack


async def lumni(stack: Stack, *arguments: str, key: str = ADMIN_KEY) -> tuple[int, str, str]:
    """Run one command; exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.gateway.cli.commands",
        *arguments,
        env={**os.environ, "LUMNI_URL": stack.rest, "LUMNI_ADMIN_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_key_is_made_listed_changed_rotated_and_revoked(stack: Stack) -> None:
    code, made, _ = await lumni(stack, "keys", "create", "--user", "cli", "--rpm", "7", "--budget-usd", "1.5")
    assert 0 == code
    found = dict(line.split(None, 1) for line in made.splitlines() if line and " " in line)
    assert found["key"].startswith("sk-lumni-")

    _, listed, _ = await lumni(stack, "keys", "list", "--user", "cli")
    assert listed.splitlines()[0].startswith("KEY ID")
    assert found["key_id"] in listed
    assert found["key"] not in listed
    _, rotated, _ = await lumni(stack, "keys", "rotate", found["key_id"], "--grace-s", "0")
    assert "sk-lumni-" in rotated
    code, revoked, _ = await lumni(stack, "keys", "revoke", found["key_id"])
    assert (0, True) == (code, "is revoked" in revoked)


async def test_usage_is_a_table_or_csv(stack: Stack) -> None:
    code, text, _ = await lumni(stack, "usage", "--by", "model,category")
    assert 0 == code
    assert "COST USD" in text
    _, sheet, _ = await lumni(stack, "usage", "--by", "day", "--csv")
    assert sheet.startswith("day,requests,")


async def test_a_decision_is_explained_with_every_candidate(stack: Stack) -> None:
    code, text, err = await lumni(
        stack, "explain", "Prove that there are infinitely many primes.", "--tier", "fast"
    )

    assert (0, "") == (code, err)
    assert text.startswith("tier ")
    assert all(heading in text for heading in ("LOG-ODDS", "DEPLOYMENT", "AT MOST USD"))


async def test_a_command_that_is_spelt_wrong_says_how_it_is_used(stack: Stack) -> None:
    for wrong in (
        ["keys", "nope"],
        ["explain"],
        ["explain", "x", "--tier", "best"],
        ["keys", "create", "--rpm", "many"],
    ):
        code, out, err = await lumni(stack, *wrong)
        assert (2, "", True) == (code, out, err.startswith("Usage: ")), wrong


async def test_an_import_says_which_settings_are_missing(stack: Stack) -> None:
    code, _, err = await lumni(stack, "import", "old.sqlite")

    assert (1, True) == (code, "DATABASE_URL: is not set" in err)


async def test_what_the_gateway_refuses_is_said_in_its_words(stack: Stack) -> None:
    code, out, err = await lumni(stack, "keys", "list", key=API_KEY)

    assert (1, "", "lumni: this needs the admin key\n") == (code, out, err)
    code, _, err = await lumni(Stack("http://127.0.0.1:1", ""), "usage")
    assert (1, True) == (code, err.startswith("lumni: no gateway at http://127.0.0.1:1"))
    code, _, err = await lumni(stack, "keys", "list", key="")
    assert (1, True) == (code, err.startswith("lumni: no key: set LUMNI_ADMIN_KEY"))
