"""A version of the classifier that is not served judges what was asked, and a replay says what it would have done."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.classifier import heads
from services.gateway import postgres
from services.gateway.migrate import migrate
from services.local.postgres import Postgres
from services.local.server import started
from services.local.valkey import Valkey
from tests.flow import stack as stacks
from tests.flow.conftest import execute
from tests.flow.stack import ADMIN_KEY, PLANS, Stack
from tests.flow.test_cli import lumni
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

# A stack of its own, whose classifier has a shadow, for whichever worker is free.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("shadow")]

# A version to which everything is hard.
EAGER = "eager"
CANARY = "Canary"
TEXTS = [f"{CANARY}, what is {number} plus {number}?" for number in range(5)]
# Fast and powerful are divided by the score alone.
DIVIDED = f"{PLANS}selector: {{threshold: 0.9}}\n"


@dataclass(frozen=True)
class Served:
    """What a stack with a shadow served: its requests, and what the ledger has of them."""

    stack: Stack
    ids: list[str]
    asked: list[selector_pb2.Asked]
    cost_nano_usd: int

    async def replayed(self, **wanted: str) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(
            base_url=self.stack.rest, headers=headers, timeout=60, trust_env=False
        ) as admin:
            answer = await admin.post("/admin/replay", json=wanted)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(
    servers_folder: Path, postgres_server: Postgres, provider: Simulator
) -> AsyncIterator[Served]:
    """A stack with a shadow that has served some requests."""
    folder = servers_folder / "shadow"
    folder.mkdir()
    weights = heads.load(heads.COMMITTED / "v1.npz")
    heads.save(replace(weights, version=EAGER, biases=np.full_like(weights.biases, 60.0)), folder / "weights")
    environ = {"LUMNI_CLASSIFIER_SHADOW": EAGER, "LUMNI_CLASSIFIER_WEIGHTS": str(folder / "weights")}
    async with started(Valkey(servers_folder / "shadow-valkey", settings={"appendonly": "no"})) as valkey:
        await execute(postgres_server.url, "CREATE DATABASE shadow")
        database = postgres_server.database("shadow")
        await migrate(database)
        async with stacks.running(
            folder / "stack",
            database=database,
            valkey=valkey,
            simulator=provider.url,
            extra=environ,
            plans=DIVIDED,
            arrangement="together",
        ) as stack:
            yield await _served(stack, database)


async def _served(stack: Stack, database: str) -> Served:
    ids = []
    async with httpx.AsyncClient(
        base_url=stack.rest, headers=stack.headers, timeout=60, trust_env=False
    ) as http:
        for text in TEXTS:
            body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
            answer = (await http.post("/v1/chat/completions", json=body)).raise_for_status().json()
            assert "shadow" not in answer["lumni"]
            ids.append(answer["lumni"]["request_id"])
    async with postgres.pool(database) as pool:

        async def written() -> bool:
            counts = [
                await pool.fetchval(f"SELECT count(*) FROM {table} WHERE request_id = ANY($1)", ids)
                for table in ("model_selections", "usage_records")
            ]
            return counts == [len(ids)] * 2

        await eventually(written)
        rows = await pool.fetch("SELECT asked FROM model_selections WHERE request_id = ANY($1)", ids)
        cost = await pool.fetchval(
            "SELECT sum(cost_nano_usd)::bigint FROM usage_records WHERE request_id = ANY($1)", ids
        )
    assert not any(CANARY.encode() in row["asked"] for row in rows)
    return Served(stack, ids, [selector_pb2.Asked.FromString(row["asked"]) for row in rows], cost)


async def test_what_the_shadow_makes_of_a_request_is_recorded_with_its_decision(served: Served) -> None:
    assert {(EAGER, classifier_pb2.TIER_POWERFUL)} == {
        (one.shadow.version, one.shadow.tier) for one in served.asked
    }
    assert all(one.shadow.strong_win_rate > 0.9 and not one.shadow.factors for one in served.asked)


async def test_a_replay_under_the_shadow_has_its_tiers_and_one_under_what_was_served_the_ledgers_cost(
    served: Served,
) -> None:
    other, same, unknown = [
        await served.replayed(classifier_version=version) for version in (EAGER, "v1", "nobody")
    ]

    assert (len(TEXTS), 0.0, 1.0) == (
        other["total"]["requests"],
        other["total"]["powerful_share_then"],
        other["total"]["powerful_share_now"],
    )
    assert [] == other["not_replayed"] == same["not_replayed"]
    assert (served.cost_nano_usd,) * 2 == (same["total"]["then_nano_usd"], same["total"]["now_nano_usd"])
    assert [{"reason": "this version of the classifier did not judge it", "requests": len(TEXTS)}] == unknown[
        "not_replayed"
    ]


async def test_the_command_replays_under_a_version(served: Served) -> None:
    code, text, err = await lumni(served.stack, "replay", "--since", "1h", "--classifier-version", EAGER)

    assert (0, "") == (code, err)
    assert f"{len(TEXTS)} requests" in text
    assert "not replayed" not in text
