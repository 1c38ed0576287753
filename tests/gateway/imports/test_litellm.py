"""LiteLLM's database, from its own schema: its keys go on, and its money is exact."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.chassis import errors, litellm_config, redis
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.imports import litellm as litellm_tables
from services.gateway.imports.model_names import ModelNames
from services.gateway.imports.records import Note
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.erasure import PersonalData
from tests.gateway.authentication import PEPPER, authenticating, store_of, until_refused
from tests.gateway.conftest import eventually
from tests.gateway.imports.conftest import ANN, BOB, OFF, OLD, sha256

Lumni = Callable[..., tuple[int, str]]

# The source's own sums, exactly, rounded once.
SOURCE = """
SELECT coalesce(nullif(model_group, ''), model) AS model, "startTime"::date AS day, api_key AS key,
       round(sum(spend::text::numeric) * 1000000000)::bigint AS nano_usd
FROM "LiteLLM_SpendLogs" GROUP BY 1, 2, 3
"""
HERE = """
SELECT model, (started_at AT TIME ZONE 'UTC')::date AS day, key_id AS key, sum(cost_nano_usd)::bigint AS nano_usd
FROM usage_records GROUP BY 1, 2, 3
"""
KEYS = "SELECT * FROM virtual_keys JOIN key_secrets USING (key_id) ORDER BY key_id"


def fetch(address: str, query: str) -> list[dict[str, Any]]:
    """The rows of a query."""

    async def rows() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(address)
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(rows())


def sums(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Models, days and sums; keys have other names here, but are as many."""
    return sorted((row["model"], row["day"], row["nano_usd"]) for row in rows)


def test_every_key_day_and_model_adds_up_to_the_nano_dollar_however_often_it_is_imported(
    lumni: Lumni, litellm: str, database: str
) -> None:
    for _ in range(2):
        assert 0 == lumni("import", "litellm", litellm)[0]

    assert sums(fetch(litellm, SOURCE)) == sums(fetch(database, HERE))
    (row,) = fetch(
        database,
        "SELECT count(*) AS rows, count(*) FILTER (WHERE cost_nano_usd > 0) AS paid FROM usage_records",
    )
    assert {"rows": 602, "paid": 600} == row
    (total,) = fetch(litellm, 'SELECT sum(spend::text::numeric) AS usd FROM "LiteLLM_SpendLogs"')
    (metrics,) = fetch(
        database, "SELECT sum(cost_nano_usd)::bigint AS nano, sum(requests) AS requests FROM usage_metrics"
    )
    assert abs(metrics["nano"] - total["usd"] * 10**9) < Decimal(len(fetch(litellm, SOURCE)))
    assert 602 == metrics["requests"]
    # Budgets of today count what was spent there.
    (spent,) = fetch(
        database,
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'organization:data' AND period = 'month:2026-11'",
    )
    (of_team,) = fetch(
        litellm,
        "SELECT sum(spend) * 1e9 AS nano FROM \"LiteLLM_SpendLogs\" WHERE team_id = 'data' OR request_id = 'x'",
    )
    assert abs(spent["spent_nano_usd"] - of_team["nano"]) < 10


def test_a_key_that_was_imported_under_an_earlier_secret_is_not_made_again(
    lumni: Lumni, litellm: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lumni("import", "litellm", litellm)
    fetch(database, "UPDATE virtual_keys SET revoked_at = now() WHERE user_id = 'ann' RETURNING key_id")
    before = fetch(database, KEYS)
    fetch(
        litellm,
        f"""INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, "startTime", "endTime", model, "user", updated_at)
        VALUES ('late', 'acompletion', '{sha256(ANN)}', 0.5, '2026-11-20', '2026-11-20', 'm', 'ann', now()) RETURNING request_id""",
    )
    monkeypatch.setenv("LUMNI_KEY_SECRET", f"another,{PEPPER.reveal()}")

    assert 0 == lumni("import", "litellm", litellm)[0]

    assert before == fetch(database, KEYS)
    (late,) = fetch(
        database,
        "SELECT user_id, revoked_at FROM usage_records JOIN virtual_keys USING (key_id, user_id) WHERE model = 'm'",
    )
    assert ("ann", True) == (late["user_id"], late["revoked_at"] is not None)


def test_what_comes_later_between_rows_of_before_is_added_exactly(
    lumni: Lumni, litellm: str, database: str
) -> None:
    lumni("import", "litellm", litellm)
    fetch(
        litellm,
        f"""INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, "startTime", "endTime", model, model_group, "user", updated_at)
        SELECT 'late-' || n, 'acompletion', '{sha256(ANN)}', 0.0000000004, '2026-11-01 09:00', '2026-11-01 09:01', 'm', 'small', 'ann', now()
        FROM generate_series(1, 7) AS n RETURNING request_id""",
    )

    code, said = lumni("import", "litellm", litellm)

    assert 0 == code
    assert "requests" in said
    assert sums(fetch(litellm, SOURCE)) == sums(fetch(database, HERE))


def test_keys_and_their_owners_have_the_limits_that_they_had(
    lumni: Lumni, litellm: str, database: str
) -> None:
    _, said = lumni("import", "litellm", litellm, "--plan", "plus")

    keys = {
        row["metadata"]: row
        for row in fetch(
            database, "SELECT *, coalesce(metadata ->> 'alias', user_id) AS metadata FROM virtual_keys"
        )
    }
    assert {"ann-prod", "bob", "off", "old"} == keys.keys()
    ann, bob = keys["ann-prod"], keys["bob"]
    assert ("data", "plus", ["large", "small"], 120) == (
        ann["organization_id"],
        ann["plan"],
        ann["models"],
        ann["rpm_limit"],
    )
    assert (10 * 10**9, "day") == (ann["budget_nano_usd"], ann["budget_period"])
    # From the budget that the key names.
    assert (5 * 10**9, "day", 30, ["small"]) == (
        bob["budget_nano_usd"],
        bob["budget_period"],
        bob["rpm_limit"],
        bob["models"],
    )
    assert keys["off"]["revoked_at"] is not None
    (team,) = fetch(database, "SELECT * FROM organizations WHERE organization_id = 'data'")
    assert (100 * 10**9, "month", 200_000) == (
        team["budget_nano_usd"],
        team["budget_period"],
        team["tpm_limit"],
    )
    users = {row["user_id"]: row for row in fetch(database, "SELECT * FROM users")}
    assert (20 * 10**9, "week") == (users["ann"]["budget_nano_usd"], users["ann"]["budget_period"])
    (stranger,) = (name for name in users if name.startswith("auth0_7-"))
    # Twelve hours become a day, which allows no more.
    assert "day" == users[stranger]["budget_period"]
    for text in (
        "budget_duration 12h: is day here",
        "metadata.logging: may hold passwords",
        "a blocked key: is revoked",
    ):
        assert text in said
    assert "sk-lf-1" not in said
    assert not fetch(database, "SELECT 1 FROM virtual_keys WHERE metadata::text LIKE '%sk-lf-1%'")


def test_a_dry_run_says_the_same_and_changes_nothing(lumni: Lumni, litellm: str, database: str) -> None:
    code, said = lumni("import", "litellm", litellm, "--dry-run")

    assert 0 == code
    assert "Nothing was imported: this was a dry run." in said
    assert "2026-11" in said
    (row,) = fetch(
        database,
        "SELECT (SELECT count(*) FROM usage_records) + (SELECT count(*) FROM virtual_keys) + (SELECT count(*) FROM users)"
        " + (SELECT count(*) FROM audit_events) + (SELECT count(*) FROM imports) + (SELECT count(*) FROM budget_spend) AS rows",
    )
    assert 0 == row["rows"]
    assert said.replace("this was a dry run", "") != lumni("import", "litellm", litellm)[1]


MISTAKES = [
    ('UPDATE "LiteLLM_VerificationToken" SET rpm_limit = 0 WHERE key_alias = \'ann-prod\'', "ann-prod", "rpm_limit: 0 refuses every"),
    ('UPDATE "LiteLLM_TeamTable" SET budget_duration = \'soon\' WHERE team_id = \'data\'', "data", "budget_duration: 'soon' is no length"),
    ('UPDATE "LiteLLM_SpendLogs" SET spend = -1 WHERE request_id = \'failed\'', "failed", "spend: -1.0; expected US dollars"),
    ('UPDATE "LiteLLM_VerificationToken" SET allowed_routes = \'{/key/info}\' WHERE key_alias = \'old\'', "old", "allowed_routes: here a key"),
    ('UPDATE "LiteLLM_VerificationToken" SET token = \'secret-text\' WHERE key_alias = \'old\'', "old", "token: expected the SHA-256"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "row", "problem"), MISTAKES)
def test_a_row_that_cannot_be_imported_is_named_with_its_field_and_keeps_all_others_out(
    lumni: Lumni, litellm: str, database: str, statement: str, row: str, problem: str
) -> None:
    fetch(litellm, statement)

    code, said = lumni("import", "litellm", litellm)

    assert 1 == code
    (line,) = (line for line in said.splitlines() if problem in line)
    assert row in line
    assert "secret-text" not in said
    assert not fetch(
        database,
        "SELECT 1 FROM usage_records UNION ALL SELECT 1 FROM virtual_keys UNION ALL SELECT 1 FROM users",
    )
    assert 0 == lumni("import", "litellm", litellm, "--leave-behind")[0]
    assert fetch(database, "SELECT 1 FROM virtual_keys")


def test_sums_of_days_stand_for_requests_that_were_deleted_and_never_beside_them(
    lumni: Lumni, litellm: str, database: str
) -> None:
    assert 0 == lumni("import", "litellm", litellm, "--spend", "days")[0]

    # Today's sum still grows.
    assert [{"cost_nano_usd": 1_234_567_892}] == fetch(database, "SELECT cost_nano_usd FROM usage_records")
    code, said = lumni("import", "litellm", litellm)
    assert 1 == code
    assert "it would count twice" in said


async def test_an_erased_user_is_not_imported_again(
    lumni: Lumni, litellm: str, pool: postgres.Pool, client: redis.Redis
) -> None:
    await asyncio.to_thread(lumni, "import", "litellm", litellm)
    await PersonalData(KeyDatabase(pool, client)).erase("admin", "ann")

    code, said = await asyncio.to_thread(lumni, "import", "litellm", litellm)

    assert (0, True) == (code, "an erased user: is left out, with every key: ann" in said)
    assert 0 == await pool.fetchval(
        "SELECT (SELECT count(*) FROM users WHERE user_id = 'ann') + (SELECT count(*) FROM virtual_keys WHERE user_id = 'ann')"
    )
    assert await pool.fetchval("SELECT count(*) FROM virtual_keys WHERE user_id = 'bob'")


def test_a_table_that_has_no_rows_does_not_keep_the_other_one_out(
    lumni: Lumni, litellm: str, database: str
) -> None:
    fetch(litellm, 'DELETE FROM "LiteLLM_SpendLogs"')
    assert 0 == lumni("import", "litellm", litellm)[0]

    assert 0 == lumni("import", "litellm", litellm, "--spend", "days")[0]

    assert [{"cost_nano_usd": 1_234_567_892}] == fetch(database, "SELECT cost_nano_usd FROM usage_records")


def test_what_is_no_database_of_litellm_is_refused_without_its_password(lumni: Lumni, database: str) -> None:
    code, said = lumni("import", "litellm", database)
    assert (1, True) == (code, "lacks budget_id" in said)

    code, said = lumni("import", "litellm", "postgresql://me:hush@127.0.0.1:1/litellm")
    assert (1, True, False) == (code, "cannot be opened" in said, "hush" in said)


@pytest.mark.parametrize("password", ["hush/1", "hush#1", "hush?1"])
def test_an_address_that_cannot_be_read_shows_no_part_of_its_password(lumni: Lumni, password: str) -> None:
    code, said = lumni("import", "litellm", f"postgresql://me:{password}@127.0.0.1/litellm")

    assert (1, True, False) == (code, "its address cannot be read" in said, "hush" in said)


def test_a_key_that_is_stored_as_it_is_shows_no_part_of_itself(tmp_path: Path) -> None:
    fleet = tmp_path / "litellm_config.yaml"
    fleet.write_text("model_list: [{model_name: small, litellm_params: {model: openai/gpt-4o-mini}}]")
    row: dict[str, object] = {
        "token": "sk-hush-of-litellm",
        "models": [],
        "user_id": None,
        "team_id": None,
        "expires": None,
    }
    tables = litellm_tables.Tables({litellm_tables.KEYS: [{**row, "metadata": {}, "blocked": True}]})

    settings = litellm_tables.Settings(tables, ModelNames(litellm_config.load(fleet)), datetime.now(UTC))
    _, note = settings.records()

    assert Note("a blocked key: is revoked here, for good", "without a name") == note


async def test_callers_go_on_with_the_key_that_they_have_and_with_nothing_else(
    lumni: Lumni, litellm: str, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    await asyncio.to_thread(lumni, "import", "litellm", litellm)
    (stored,) = await pool.fetch(
        "SELECT digest FROM key_secrets s JOIN virtual_keys USING (key_id) WHERE user_id = 'ann'"
    )

    async with authenticating(pool, client, Live(configured)) as keys:
        caller = await keys.caller(ANN)
        assert ("ann", "data") == (caller.user_id, caller.organization_id)

        # Known from then on as any other key, once the import's own changes were read.
        async def remembered() -> bool:
            await keys.caller(ANN)
            return keys.remembered(ANN) == caller

        await eventually(remembered)
        assert "bob" == (await keys.caller(BOB)).user_id
        for key, reason in ((OFF, "revoked"), (OLD, "expired")):
            with pytest.raises(errors.Unauthenticated, match=reason):
                await keys.caller(key)
        # What LiteLLM's table holds, and what ours does, open nothing.
        for other in (
            sha256(ANN),
            f"sk-{sha256(ANN)}",
            stored["digest"].hex(),
            f"sk-{stored['digest'].hex()}",
        ):
            with pytest.raises(errors.Unauthenticated):
                await keys.caller(other)

        rotated = await store_of(pool, client, configured).rotate(
            "t", caller.key_id, grace_s=0, idempotency_key=None
        )
        await until_refused(keys, ANN)
        assert caller.key_id == (await keys.caller(rotated["key"])).key_id


async def test_a_digest_of_one_sort_is_not_taken_for_the_other(
    lumni: Lumni, litellm: str, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    await asyncio.to_thread(lumni, "import", "litellm", litellm)
    await pool.execute("UPDATE key_secrets SET digest_of = 'key'")

    async with authenticating(pool, client, Live(configured)) as keys:
        with pytest.raises(errors.Unauthenticated, match="not known"):
            await keys.caller(ANN)
