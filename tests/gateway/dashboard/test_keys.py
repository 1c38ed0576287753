"""Keys that are made, limited, renewed and revoked at the page."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.chassis.money import NANO
from services.gateway import postgres
from tests.gateway.dashboard.conftest import ADMIN_KEY, token


async def test_a_key_is_made_limited_and_revoked(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        made = await one.post(
            "/dashboard/keys",
            data={
                "csrf": own,
                "user_id": "ann",
                "budget_usd": "12.50",
                "rpm_limit": "60",
                "models": "a, b",
                "expires_at": "",
            },
        )
        assert 201 == made.status_code
        secret = re.search(r"sk-lumni-[\w-]+", made.text)
        assert secret is not None
        row = await pool.fetchrow("SELECT * FROM virtual_keys")
        assert row is not None
        assert (12_500_000_000, 60, ["a", "b"]) == (row["budget_nano_usd"], row["rpm_limit"], row["models"])
        page = f"/dashboard/keys/{row['key_id']}"
        assert secret[0] not in (await one.get(page)).text

        changed = await one.post(
            page,
            data={"csrf": own, "rpm_limit": "", "budget_usd": "3", "models": "", "expires_at": "2099-12-31"},
        )
        assert 303 == changed.status_code
        row = await pool.fetchrow("SELECT * FROM virtual_keys")
        assert row is not None
        assert (3 * NANO, None, []) == (row["budget_nano_usd"], row["rpm_limit"], row["models"])
        assert datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC) == row["expires_at"]

        wrong = await one.post(page, data={"csrf": own, "rpm_limit": "many"})
        assert (400, True) == (wrong.status_code, "rpm_limit" in wrong.text)
        assert 303 == (await one.post(f"{page}/revoke", data={"csrf": own})).status_code
        assert "revoked" in (await one.get(page)).text
    assert ["key.create", "key.change", "key.revoke"] == [
        one["action"] for one in await pool.fetch("SELECT action FROM audit_events ORDER BY event_id")
    ]


async def test_what_a_key_says_of_models_and_texts_is_changed_and_taken_back(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        said = {"csrf": own, "user_id": "ann", "powerful_share": "0.25", "store_prompts": "false"}
        assert 201 == (await one.post("/dashboard/keys", data=said)).status_code
        key_id, *values = await pool.fetchrow(
            "SELECT key_id, powerful_share, store_prompts FROM virtual_keys"
        )  # type: ignore[misc]
        assert [0.25, False] == values
        page = f"/dashboard/keys/{key_id}"
        shown = (await one.get(page)).text
        share = re.search(r'id="powerful_share"[^>]* value="([^"]*)"', shown)
        assert share is not None
        assert "0.25" == share[1]
        assert '<option value="false" selected>never' in shown

        wrong = await one.post(page, data={"csrf": own, "powerful_share": "2", "store_prompts": "false"})
        assert (400, True) == (wrong.status_code, "powerful_share" in wrong.text)
        taken_back = {"csrf": own, "powerful_share": "", "store_prompts": ""}
        assert 303 == (await one.post(page, data=taken_back)).status_code
        row = await pool.fetchrow("SELECT powerful_share, store_prompts FROM virtual_keys")
        assert row is not None
        assert (None, None) == tuple(row)


async def test_a_key_gets_a_new_secret_and_begins_its_minute_anew(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        await one.post("/dashboard/keys", data={"csrf": own, "user_id": "ann"})
        page = f"/dashboard/keys/{await pool.fetchval('SELECT key_id FROM virtual_keys')}"
        for grace, code in (("", 400), ("soon", 400), ("3600", 201)):
            answer = await one.post(f"{page}/rotate", data={"csrf": own, "grace_s": grace})
            assert code == answer.status_code
        secret = re.search(r"sk-lumni-[\w-]+", answer.text)
        assert secret is not None
        assert "The earlier one works until" in answer.text
        assert secret[0].endswith(await pool.fetchval("SELECT hint FROM virtual_keys"))

        assert 303 == (await one.post(f"{page}/reset-limits", data={"csrf": own})).status_code
        await one.post(f"{page}/revoke", data={"csrf": own})
        refused = await one.post(f"{page}/rotate", data={"csrf": own, "grace_s": "0"})
        assert (400, True) == (refused.status_code, "is revoked" in refused.text)
    assert ["key.create", "key.rotate", "key.reset_limits", "key.revoke"] == [
        one["action"] for one in await pool.fetch("SELECT action FROM audit_events ORDER BY event_id")
    ]


@pytest.mark.parametrize(
    "expires",
    [
        datetime(2020, 5, 1, 10, 30, tzinfo=UTC),
        datetime(2099, 5, 1, 10, 30, tzinfo=UTC),
        None,
    ],
)
async def test_a_changed_limit_leaves_the_expiry_as_it_is(
    browser: Callable[..., Any], pool: postgres.Pool, expires: datetime | None
) -> None:
    async with browser(ADMIN_KEY) as one:
        own = token(await one.get("/dashboard/keys"))
        assert 201 == (await one.post("/dashboard/keys", data={"csrf": own, "user_id": "ann"})).status_code
        await pool.execute("UPDATE virtual_keys SET expires_at = $1", expires)
        path = f"/dashboard/keys/{await pool.fetchval('SELECT key_id FROM virtual_keys')}"
        shown = re.search(r'name="expires_at" type="date" value="([^"]*)"', (await one.get(path)).text)
        assert shown is not None

        changed = await one.post(path, data={"csrf": own, "rpm_limit": "7", "expires_at": shown[1]})

        assert 303 == changed.status_code
        row = await pool.fetchrow("SELECT rpm_limit, expires_at FROM virtual_keys")
        assert (7, expires) == tuple(row or ())
        detail = await pool.fetchval("SELECT detail FROM audit_events WHERE action = 'key.change'")
        assert "expires_at" not in detail

        # Another day is a change.
        await one.post(path, data={"csrf": own, "expires_at": "2098-01-01"})
        assert datetime(2098, 1, 1, 23, 59, 59, tzinfo=UTC) == await pool.fetchval(
            "SELECT expires_at FROM virtual_keys"
        )
