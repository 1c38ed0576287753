"""docs/migration.md, "Beside the old gateway, then instead of it": the files that stand there, step by step."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests.flow import stack as stacks
from tests.flow.conftest import execute
from tests.flow.stack import Stack
from tests.flow.test_cli import lumni
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

# A stack of its own, with the configuration of the document, for whichever worker is free.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("moving")]
DOCUMENT = Path(__file__).parents[2] / "docs" / "migration.md"
SECTION = "## Beside the old gateway, then instead of it"
# The provider's names of both targets.
OLD, NEW = "gpt-4o", "gpt-4.1"


def files() -> tuple[str, str, str]:
    """litellm_config.yaml, the rollout and lumni.yaml, as they stand in the document."""
    section = DOCUMENT.read_text().partition(SECTION)[2].partition("\n## ")[0]
    fleet, move, plans = (one.partition("```")[0] for one in section.split("```yaml\n")[1:])
    return fleet, move, plans


def simulated(fleet: str) -> str:
    """The same fleet where both are the simulator, as a template of the stack's."""
    assert "https://old-gateway.example" in fleet
    text = fleet.replace("{", "{{").replace("}", "}}").replace("https://old-gateway.example", "{simulator}")
    return text.replace(f"openai/{NEW},", f'openai/{NEW}, api_base: "{{simulator}}/v1",')


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(servers_folder: Path, postgres_server: Postgres, provider: Simulator) -> AsyncIterator[Stack]:
    """All services in one process with the files of the document."""
    fleet, _, plans = files()
    async with started(Valkey(servers_folder / "moving-valkey", settings={"appendonly": "no"})) as valkey:
        await execute(postgres_server.url, "CREATE DATABASE moving")
        database = postgres_server.database("moving")
        await migrate(database)
        async with stacks.running(
            servers_folder / "moving",
            database=database,
            valkey=valkey,
            simulator=provider.url,
            extra={"OLD_GATEWAY_KEY": "sk-old", "OPENAI_API_KEY": "sk-new"},
            fleet=simulated(fleet),
            plans=plans,
            arrangement="together",
        ) as one:
            one.database = database
            yield one
        await provider.script(NEW, standing="")


async def chat(http: httpx.AsyncClient, text: str) -> httpx.Response:
    body = {"model": OLD, "messages": [{"role": "user", "content": text}]}
    return await http.post("/v1/chat/completions", json=body)


async def variant(http: httpx.AsyncClient) -> str | None:
    found = (await chat(http, "Who answers?")).json()["lumni"]["experiment"]
    return None if found is None else str(found["variant"])


async def test_callers_move_first_then_the_new_target_is_compared_and_takes_over(
    stack: Stack, http: httpx.AsyncClient, admin: httpx.AsyncClient, provider: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "move.yaml"
    file.write_text(files()[1])
    code, out, err = await lumni(stack, "experiments", "create", str(file), "--start")
    assert (0, "") == (code, err), out

    async def is_old() -> bool:
        return await variant(http) == "old"

    await eventually(is_old)
    # The new target is worse: slower, and it refuses.
    await provider.script(NEW, standing="slow-250-filtered")
    parts = itertools.count()
    await asyncio.gather(*(several(http, next(parts), 25) for _ in range(4)))

    async def compared() -> bool:
        # What comes while too many wait is not mirrored.
        await several(http, next(parts), 5)
        found = await admin.get("/admin/mirrors/new/report")
        return found.status_code == 200 and bool(found.json()["requests"] >= 100)

    await eventually(compared)
    await provider.script(NEW, standing="")
    _, shown, _ = await lumni(stack, "mirror", "report", "new", "--since", "1d")
    sentence = shown.splitlines()[-1]
    assert sentence.startswith("Regression: in all (")
    assert "the target is slower: by at least" in sentence
    assert "the target refuses more often: by at least" in sentence
    assert "fails more often" not in sentence
    await settled_to_the_nano_dollar(stack, admin)

    # It takes over; the hash gives all keys the new one at 100 %.
    code, out, err = await lumni(stack, "rollout", "set", "move", "100")
    assert (0, "", True) == (code, err, "100 %" in out)

    async def is_new() -> bool:
        return await variant(http) == "new"

    await eventually(is_new)
    # And is left again when it fails.
    await provider.script(NEW, standing="500")
    assert 503 == (await chat(http, "Say it.")).status_code

    async def is_left() -> bool:
        return (await chat(http, "Say it again.")).status_code == 200

    await eventually(is_left)
    assert await is_old()
    await provider.script(NEW, standing="")
    _, out, _ = await lumni(stack, "rollout", "status", "move")
    assert "more than 5 % of its requests fail" in out
    audit = (await admin.get("/admin/audit", params={"limit": 10})).json()["data"]
    assert "experiment.fall_back" in [one["action"] for one in audit if one["actor"] == "guardrail"]

    code, _, err = await lumni(stack, "experiments", "promote", "move", "new")
    assert (0, "") == (code, err)
    await eventually(is_new)


async def several(http: httpx.AsyncClient, part: int, count: int) -> None:
    for n in range(count):
        answer = await chat(http, f"Explain number {n} of part {part} to me.")
        assert 200 == answer.status_code, answer.text


async def settled_to_the_nano_dollar(stack: Stack, admin: httpx.AsyncClient) -> None:
    """The mirror's spending is the sum of its rows, and no row of a caller's has a mirrored request."""

    async def agree() -> bool:
        shown: dict[str, Any] = (await admin.get("/admin/mirrors")).json()["data"][0]
        connection = await asyncpg.connect(stack.database)
        try:
            rows = await connection.fetchrow(
                "SELECT count(*) AS attempts, sum(cost_nano_usd)::bigint AS cost FROM usage_records "
                "WHERE key_id = 'mirror:new' AND metadata ? 'mirrored'"
            )
            kept = await connection.fetchrow(
                "SELECT count(*) AS requests, sum(target_cost_nano_usd)::bigint AS cost FROM mirrored_requests"
            )
            others = await connection.fetchval(
                "SELECT count(*) FROM usage_records r JOIN mirrored_requests m USING (request_id) "
                "WHERE r.key_id <> 'mirror:new' OR r.user_id <> '' OR r.organization_id <> ''"
            )
        finally:
            await connection.close()
        assert rows is not None
        assert kept is not None
        return (rows["attempts"], rows["cost"], 0) == (kept["requests"], kept["cost"], others) and shown[
            "spent_today_nano_usd"
        ] == rows["cost"] > 0

    await eventually(agree)
