"""The pages of prompts and experiments: what admins read there, and what ends an experiment."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.chassis import redis
from services.gateway import postgres
from services.gateway.experiments import definition
from services.gateway.experiments.store import ExperimentStore
from services.gateway.keys.database import KeyDatabase
from services.gateway.prompts import content
from services.gateway.prompts.content import Kind
from services.gateway.prompts.store import PromptStore
from tests.gateway.dashboard.conftest import ADMIN_KEY, CSRF, EVIL
from tests.gateway.experiments.test_store import write


@pytest.fixture
def keys_database(pool: postgres.Pool, client: redis.Redis) -> KeyDatabase:
    return KeyDatabase(pool, client)


async def test_a_prompt_is_shown_with_its_versions_labels_and_the_rules_that_it_says(
    browser: Callable[..., Any], keys_database: KeyDatabase
) -> None:
    store = PromptStore(keys_database)
    said = content.parse({"messages": [{"role": "system", "content": EVIL}]}, Kind.PROMPT)
    made = await store.create("eve", name="house-style", kind=Kind.PROMPT, content=said, note=EVIL)
    newer = content.parse({"messages": [{"role": "system", "content": "Be brief."}]}, Kind.PROMPT)
    await store.add_version("eve", made["prompt_id"], 1, newer, label="staging")
    async with browser(ADMIN_KEY) as one:
        listed = (await one.get("/dashboard/prompts")).text
        assert "production 1, staging 2" in listed
        assert "base (production)" in listed
        path = f"/dashboard/prompts/{made['prompt_id']}"
        first = (await one.get(path)).text
        assert "Version 1" in first
        assert "&lt;script&gt;alert" in first
        assert "<script>alert" not in first
        assert "Be brief." in (await one.get(path, params={"version": "staging"})).text
        for missing in (f"{path}?version=7", f"{path}?version=canary", "/dashboard/prompts/pr-none"):
            assert 404 == (await one.get(missing)).status_code, missing


async def test_an_experiment_is_read_stopped_promoted_and_taken_back(
    browser: Callable[..., Any], keys_database: KeyDatabase, pool: postgres.Pool
) -> None:
    store = ExperimentStore(keys_database)
    variants = [{"name": "old"}, {"name": "new", "model": "small"}, {"name": "other", "strategy": "cost"}]
    row = await store.create("eve", definition.parse({"name": "cheaper", "variants": variants}))
    ident = row["experiment_id"]
    await write(pool, ident, "old", [2_000_000 + 1000 * i for i in range(150)])
    await write(pool, ident, "new", [1_000_000 + 1000 * i for i in range(150)], failed=3)
    async with browser(ADMIN_KEY) as one:
        assert "old, new, other" in (await one.get("/dashboard/experiments")).text
        path = f"/dashboard/experiments/{ident}"
        page = await one.get(path)
        assert "new costs less than old" in page.text
        assert "model: small" in page.text
        for number in ("0.00207", "0.00105", "difference -0.00"):
            assert number in page.text

        async def does(action: str, **form: str) -> httpx.Response:
            found = CSRF.search((await one.get(path)).text)
            assert found is not None
            answer: httpx.Response = await one.post(f"{path}/{action}", data={"csrf": found[1], **form})
            return answer

        early = await does("stop")
        assert (400, True) == (early.status_code, "is draft" in early.text)
        for action, form, state in (
            ("start", {}, "running"),
            ("stop-variant", {"variant": "other"}, "running"),
            ("promote", {"variant": "new"}, "promoted"),
            ("roll-back", {}, "stopped"),
        ):
            assert 303 == (await does(action, **form)).status_code, action
            assert state == (await store.get(ident))["state"]
        assert {"other": "stopped on the page"} == (await store.get(ident))["stopped"]
        assert 404 == (await does("delete")).status_code
        forged = await one.post(f"{path}/promote", data={"csrf": "x", "variant": "new"})
        assert (403, "stopped") == (forged.status_code, (await store.get(ident))["state"])
        assert "experiment.promote" in (await one.get(path)).text
