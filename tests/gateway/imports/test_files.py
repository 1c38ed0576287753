"""Exports of Portkey and OpenRouter, and SQLite of the previous generation."""

import asyncio
import csv
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from services.chassis import errors, redis
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.imports import previous
from services.gateway.imports.records import Key, Mistake
from tests.gateway.authentication import authenticating, store_of
from tests.gateway.imports.test_litellm import fetch

Lumni = Callable[..., tuple[int, str]]
Sums = dict[tuple[str, str], Decimal]

HERE = """
SELECT model, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, sum(cost_nano_usd)::bigint AS nano_usd
FROM usage_records GROUP BY 1, 2
"""


def rounded(sums: Sums) -> dict[tuple[str, str], int]:
    """Exact sums in nano-dollars, each rounded once."""
    return {key: int((usd * 10**9).quantize(Decimal(1), ROUND_HALF_UP)) for key, usd in sums.items()}


def here(database: str) -> dict[tuple[str, str], int]:
    """The same in the ledger."""
    return {(row["model"], row["day"]): row["nano_usd"] for row in fetch(database, HERE)}


def test_an_export_of_openrouter_adds_up_exactly_and_counts_once(
    lumni: Lumni, openrouter: Path, database: str
) -> None:
    for _ in range(2):
        assert 0 == lumni("import", "openrouter", openrouter)[0]

    sums: Sums = defaultdict(Decimal)
    with openrouter.open(newline="") as file:
        for row in csv.DictReader(file):
            sums[row["model_permaslug"], row["created_at"][:10]] += Decimal(row["cost_total"])
    assert rounded(sums) == here(database)
    assert [{"rows": 30, "keys": 1}] == fetch(
        database, "SELECT count(*) AS rows, count(DISTINCT key_id) AS keys FROM usage_records WHERE stream"
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("gen-7,2026-11-02 10:00:00.007", "gen-7,soon", "line 8: created_at: 'soon' is no moment"),
        ("gen-7,", "gen-8,", "line 9: generation_id: is there twice"),
        ("gen-7,", ",", "line 8: generation_id: is empty"),
        (",7.00000000049e-4,", ",free,", "line 8: cost_total: 'free'; expected US dollars"),
        (
            "-0.0001,0,0,700,",
            "-0.0001,0,own,700,",
            "line 8: byok_usage_inference: 'own'; expected US dollars",
        ),
        (",700,7,", ",700,many,", "line 8: tokens_completion: 'many'; expected a whole number"),
        (",cost_total,", ",cost,", "lacks the columns cost_total"),
        (",700,7,", ",700,", "line 8: has not as many fields as the heading"),
    ],
)
def test_a_line_of_openrouter_that_cannot_be_read_is_named_with_its_field(
    lumni: Lumni, openrouter: Path, database: str, old: str, new: str, problem: str
) -> None:
    text = openrouter.read_text()
    assert old in text
    openrouter.write_text(text.replace(old, new, 1))

    code, said = lumni("import", "openrouter", openrouter)

    assert 1 == code
    assert problem in said
    assert {} == here(database)


def test_exports_of_portkey_add_up_exactly_and_its_keys_get_a_new_secret(
    lumni: Lumni, portkey: tuple[Path, Path], database: str, valkey: str, configured: Plans
) -> None:
    for _ in range(2):
        assert 0 == lumni("import", "portkey", *portkey)[0]

    sums: Sums = defaultdict(Decimal)
    for line in portkey[1].read_text().splitlines():
        row = json.loads(line, parse_float=Decimal)
        sums[row["ai_model"], row["created_at"][:10]] += row["cost"] / 100
    assert rounded(sums) == here(database)
    (key,) = fetch(database, "SELECT * FROM virtual_keys")
    assert ("ws-web", 100, 10_500_000_000, "month", "S4") == (
        key["organization_id"],
        key["rpm_limit"],
        key["budget_nano_usd"],
        key["budget_period"],
        key["hint"],
    )

    async def rotated() -> str:
        async with postgres.pool(database) as pool, redis.connect(valkey, timeout_s=5) as client:
            made = await store_of(pool, client, configured).rotate(
                "test", key["key_id"], grace_s=0, idempotency_key=None
            )
            async with authenticating(pool, client, Live(configured)) as keys:
                return (await keys.caller(made["key"])).organization_id

    assert "ws-web" == asyncio.run(rotated())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"cost_currency": "USD"', '"cost_currency": "EUR"', "line 1: cost_currency: 'EUR'; expected USD"),
        ('"cost"', '"price"', "line 1: cost: is missing; request the export with the field cost"),
        ('{"id": "log-1"', '["id": "log-1"', "line 1: "),
        (
            '"is_success": 1',
            '"is_success": "perhaps"',
            "line 1: is_success: 'perhaps'; expected true or false",
        ),
    ],
)
def test_a_line_of_portkey_that_cannot_be_read_is_named_with_its_field(
    lumni: Lumni, portkey: tuple[Path, Path], database: str, old: str, new: str, problem: str
) -> None:
    _, logs = portkey
    logs.write_text(logs.read_text().replace(old, new, 1))

    code, said = lumni("import", "portkey", logs)

    assert 1 == code
    assert problem in said
    assert {} == here(database)


def test_a_virtual_key_of_portkey_belongs_into_the_configuration(lumni: Lumni, tmp_path: Path) -> None:
    path = tmp_path / "virtual.json"
    path.write_text(json.dumps({"data": [{"object": "virtual-key", "name": "openai-prod"}]}))

    code, said = lumni("import", "portkey", path)

    assert (1, True) == (code, "openai-prod: object: a virtual key holds a provider's key" in said)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of the previous generation."""
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(
            """
            CREATE TABLE api_keys (id INTEGER PRIMARY KEY, api_key, user_id, plan, created_at, expires_at, revoked, x);
            CREATE TABLE usage (id INTEGER PRIMARY KEY, created_at, api_key_id, user_id, model, provider, category,
                                prompt_tokens, completion_tokens, cost_usd, latency_ms, status, "x); --");
            INSERT INTO api_keys VALUES
                (1, 'sk-old-one', 'ann', 'pro', '2026-01-01T00:00:00', NULL, 0, 'x'),
                (2, 'sk-old-two', 'bob', NULL, 1767225600, NULL, 1, 'x');
            """
        )
        rows = [
            (
                i,
                f"2026-01-0{1 + i % 3}T03:04:05",
                1,
                "ann",
                "gpt",
                "openai",
                "code",
                10,
                5,
                i * 1.1e-9,
                12.5,
                "success",
                0,
            )
            for i in range(1, 500)
        ]
        rows[6] = (7, "2026-01-02", 1, "ann", "gpt", "openai", "code", 10, 0, 0, 1, "error", 0)
        file.executemany(f"INSERT INTO usage VALUES ({', '.join('?' * 13)})", rows)
        file.commit()
    return path


def test_sqlite_of_the_previous_generation_adds_up_exactly_and_its_keys_go_on(
    lumni: Lumni, old: Path, database: str, valkey: str, configured: Plans
) -> None:
    for _ in range(2):
        assert 0 == lumni("import", "sqlite", old)[0]

    sums: Sums = defaultdict(Decimal)
    with closing(sqlite3.connect(old)) as file:
        for model, created, cost in file.execute("SELECT model, created_at, cost_usd FROM usage"):
            sums[model, created[:10]] += Decimal(str(cost))
    assert rounded(sums) == here(database)
    assert [{"rows": 1}] == fetch(
        database, "SELECT count(*) AS rows FROM usage_records WHERE kind = 'failed'"
    )

    async def callers() -> tuple[str, str]:
        async with postgres.pool(database) as pool, redis.connect(valkey, timeout_s=5) as client:
            async with authenticating(pool, client, Live(configured)) as keys:
                with pytest.raises(errors.Unauthenticated, match="revoked"):
                    await keys.caller("sk-old-two")
                caller = await keys.caller("sk-old-one")
                return caller.user_id, caller.plan.name

    assert ("ann", "pro") == asyncio.run(callers())
    trail = fetch(database, "SELECT actor, action, subject FROM audit_events ORDER BY event_id")
    assert ("import", "import", "source:sqlite") == tuple(trail[-1].values())
    assert 2 == sum(row["action"] == "key.import" for row in trail)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("CREATE TABLE other (id)", "has none of the tables"),
        ("CREATE TABLE usage (id, created_at)", "lacks user_id, model"),
        ("", "has none of the tables"),
        (None, "file is not a database"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(
    lumni: Lumni, tmp_path: Path, text: str | None, problem: str
) -> None:
    path = tmp_path / "other.sqlite"
    if text is None:
        path.write_text("hello, this is no database at all, not even a small one")
    else:
        with closing(sqlite3.connect(path)) as file:
            file.executescript(text)

    code, said = lumni("import", "sqlite", path)

    assert (1, True) == (code, problem in said)
    assert "no such file" in lumni("import", "sqlite", tmp_path / "nowhere")[1]


def test_a_broken_file_leaves_nothing_half_imported(lumni: Lumni, old: Path, database: str) -> None:
    whole = old.read_bytes()
    old.write_bytes(whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2))

    code, said = lumni("import", "sqlite", old)

    assert (1, True) == (code, "old.sqlite: database disk image is malformed" in said)
    assert not fetch(database, "SELECT 1 FROM virtual_keys UNION ALL SELECT 1 FROM usage_records")


# Fields of one row that cannot be kept, and the name that the refusal gives.
ODD: list[tuple[str, object]] = [
    ("created_at", 1e300),
    ("created_at", float("-inf")),
    ("created_at", 1767225600000),
    ("created_at", "0001-01-01T00:00:00+14:00"),
    ("created_at", "9999-12-31T23:59:59"),
    ("created_at", None),
    ("created_at", b"\xff"),
    ("model", "nul\0"),
    ("model", b"\xff\xfe"),
    ("model", "m" * 5000),
    ("user_id", b"ann"),
    ("prompt_tokens", 1e300),
    ("prompt_tokens", float("inf")),
    ("prompt_tokens", -1),
    ("completion_tokens", 2**62),
    ("completion_tokens", "many"),
    ("cost_usd", float("inf")),
    ("cost_usd", -0.01),
    ("cost_usd", "dear"),
    ("latency_ms", float("inf")),
    ("latency_ms", "long"),
]
GOOD = {
    "id": 7,
    "created_at": 1767225600,
    "user_id": "ann",
    "model": "gpt",
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "cost_usd": 0.000001,
    "latency_ms": 1,
}


@pytest.mark.parametrize(("name", "value"), ODD)
def test_an_odd_field_refuses_its_row_by_its_name(name: str, value: object) -> None:
    (found,) = previous.records([("usage", {**GOOD, name: value})], "old.sqlite", ())

    assert isinstance(found, Mistake)
    assert str(found).startswith(f"usage 7: {name}: ")


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ({"api_key": "a hash"}, "api_key: must hold the key itself"),
        ({"api_key": b"sk-\xff"}, "api_key: expected at most"),
        ({"plan": "golden"}, "plan: there is no plan 'golden'; known: free"),
        ({"expires_at": 1e300}, "expires_at: 1e+300 is no moment"),
        ({"revoked": "perhaps"}, "revoked: 'perhaps'; expected true or false"),
    ],
)
def test_an_odd_key_is_refused_by_its_field(field: dict[str, object], problem: str) -> None:
    row = {"id": 1, "api_key": "sk-one", "user_id": "ann", "plan": None, "created_at": 1767225600, **field}

    (found,) = previous.records([("api_keys", row)], "old.sqlite", ["free"])

    assert isinstance(found, Mistake)
    assert problem in str(found)


def test_a_name_that_could_be_taken_for_two_becomes_one_that_cannot() -> None:
    names = []
    for user in ("ann\nkey:k1", "ann_key:k1", "auth0|7", "|||", "ann"):
        row = {"id": 1, "api_key": "sk-one", "user_id": user, "plan": None, "created_at": 1767225600}
        (found,) = previous.records([("api_keys", row)], "old.sqlite", ())
        assert isinstance(found, Key)
        names.append(found.user_id or "")

    assert len(names) == len(set(names))
    assert "ann" == names[-1]
    assert all(character.isalnum() or character in "_.@+-" for name in names for character in name)
