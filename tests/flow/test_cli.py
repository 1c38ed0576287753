"""The command line client against the running gateway."""

import asyncio
import os
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any
from unittest.mock import patch

import httpx

from services.gateway.cli import commands
from tests.flow.stack import ADMIN_KEY, API_KEY, Stack


async def lumni(stack: Stack, *arguments: str, key: str = ADMIN_KEY) -> tuple[int, str, str]:
    """Run one command in this process, which loads it once; exit code, output, errors.

    What is installed as `lumni` runs in test_tools.
    """
    out, err, made = StringIO(), StringIO(), httpx.Client

    def client(**options: Any) -> httpx.Client:
        # The program leaves its connection to the end of its process.
        return ends.enter_context(made(**options))

    def run() -> int:
        try:
            commands.main(arguments)
        except SystemExit as ended:
            # As the interpreter does.
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
                return 1
            return ended.code or 0
        return 0

    with (
        ExitStack() as ends,
        patch("httpx.Client", client),
        patch.dict(os.environ, {"LUMNI_URL": stack.rest, "LUMNI_ADMIN_KEY": key}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = await asyncio.to_thread(run)
    return code, out.getvalue(), err.getvalue()


async def test_a_key_is_made_listed_changed_rotated_and_revoked(stack: Stack) -> None:
    code, made, _ = await lumni(stack, "keys", "create", "--user", "cli", "--rpm", "7", "--budget-usd", "1.5")
    assert 0 == code
    found = dict(line.split(None, 1) for line in made.splitlines() if line and " " in line)
    assert found["key"].startswith("sk-lumni-")

    _, listed, _ = await lumni(stack, "keys", "list", "--user", "cli")
    assert listed.splitlines()[0].startswith("KEY ID")
    assert found["key_id"] in listed
    assert found["key"] not in listed
    assert " keys are stored under the first LUMNI_KEY_SECRET" in (await lumni(stack, "keys", "secret"))[1]
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
    code, _, err = await lumni(stack, "import", "sqlite", "old.sqlite")

    assert (1, True) == (code, "DATABASE_URL: is not set" in err)


async def test_what_the_gateway_refuses_is_said_in_its_words(stack: Stack) -> None:
    code, out, err = await lumni(stack, "keys", "list", key=API_KEY)

    assert (1, "", "lumni: this needs the admin key\n") == (code, out, err)
    code, _, err = await lumni(Stack("http://127.0.0.1:1", ""), "usage")
    assert (1, True) == (code, err.startswith("lumni: no gateway at http://127.0.0.1:1"))
    code, _, err = await lumni(stack, "keys", "list", key="")
    assert (1, True) == (code, err.startswith("lumni: no key: set LUMNI_ADMIN_KEY"))
