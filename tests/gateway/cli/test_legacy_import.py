"""Keys and usage of the previous generation, from a SQLite file."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services.chassis import redis
from services.gateway import postgres
from services.gateway.cli.legacy_import import BATCH, Import, UnreadableError
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter
from tests.gateway.authentication import DIGESTS, authenticating, store_of


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of the previous generation."""
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(
            """
            CREATE TABLE api_keys (id INTEGER PRIMARY KEY, api_key, user_id, plan, created_at, expires_at, revoked, x);
            CREATE TABLE usage (id INTEGER PRIMARY KEY, created_at, api_key_id, user_id, model, provider, category,
                                prompt_tokens, completion_tokens, cost_usd, latency_ms, status);
            INSERT INTO api_keys VALUES
                (1, 'sk-old-one', 'ann', 'pro', '2026-01-01T00:00:00', NULL, 0, 'x'),
                (2, 'sk-old-two', 'bob', NULL, 1767225600, NULL, 1, 'x'),
                (3, 'a hash', 'bob', 'pro', 1767225600, NULL, 0, 'x'),
                (4, 'sk-old-four', 'bob', 'golden', 1767225600, NULL, 0, 'x');
            """
        )
        rows = [
            (i, "2026-01-02T03:04:05", 1, "ann", "gpt", "openai", "code", 10, 5, 0.000001, 12.5, "success")
            for i in range(1, 2 * BATCH + 8)
        ]
        rows[5] = (6, "not a date", 1, "ann", "gpt", "openai", "code", 10, 5, 0.1, 1, "success")
        rows[6] = (7, "2026-01-02", 1, "ann", "gpt", "openai", "code", 10, 0, 0, 1, "error")
        file.executemany(f"INSERT INTO usage VALUES ({', '.join('?' * 12)})", rows)
        file.commit()
    return path


def opened(path: Path, pool: postgres.Pool, client: redis.Redis, plans: Plans) -> Import:
    keys, writer = store_of(pool, client, plans), LedgerWriter(client, LedgerStore(pool))
    return Import(path, pool, keys, writer, plans, DIGESTS)


async def test_a_dry_run_changes_nothing_and_names_what_would_stay_behind(
    old: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    outcome = await opened(old, pool, client, configured).run(dry=True, progress=lambda *_: None)

    assert {"api_keys": 2, "usage": 2 * BATCH + 6} == outcome.rows
    assert {"api_keys": 2, "usage": 1} == outcome.skipped
    assert any("there is no plan 'golden'" in problem for problem in outcome.problems)
    assert 0 == await pool.fetchval(
        "SELECT (SELECT count(*) FROM usage_records) + (SELECT count(*) FROM virtual_keys)"
    )


async def test_keys_go_on_working_and_usage_counts_once_however_often_it_is_imported(
    old: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    heard: list[tuple[str, int, int]] = []
    for _ in range(2):
        await opened(old, pool, client, configured).run(dry=False, progress=lambda *one: heard.append(one))

    async with authenticating(pool, client, Live(configured)) as keys:
        caller = await keys.caller("sk-old-one")
    assert ("ann", "pro") == (caller.user_id, caller.plan.name)
    assert 2 * BATCH + 6 == await pool.fetchval("SELECT sum(requests) FROM usage_metrics")
    # A row of an error costs nothing and is one that failed.
    assert (2 * BATCH + 5) * 1000 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'user:ann' AND period = 'total'"
    )
    assert 1 == await pool.fetchval("SELECT count(*) FROM usage_records WHERE kind = 'failed'")
    assert ("usage", 2 * BATCH + 7, 2 * BATCH + 7) == heard[-1]


async def test_an_import_that_was_interrupted_goes_on_where_it_stopped(
    old: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(table: str, done: int, total: int) -> None:
        if table == "usage":
            raise Interrupted

    with pytest.raises(Interrupted):
        await opened(old, pool, client, configured).run(dry=False, progress=interrupt)
    first = await pool.fetchval("SELECT count(*) FROM usage_records")

    outcome = await opened(old, pool, client, configured).run(dry=False, progress=lambda *_: None)

    assert (BATCH - 1, BATCH + 7) == (first, outcome.rows["usage"])
    assert 2 * BATCH + 6 == await pool.fetchval("SELECT count(*) FROM usage_records")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("CREATE TABLE other (id)", "has none of the tables"),
        ("CREATE TABLE usage (id, created_at)", "lacks user_id, model"),
        ("", "has none of the tables"),
    ],
)
async def test_a_file_that_is_none_of_ours_is_refused(
    tmp_path: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans, text: str, problem: str
) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(text)

    with pytest.raises(UnreadableError, match=problem):
        opened(path, pool, client, configured)


async def test_a_file_that_is_no_database_or_not_there_is_refused(
    tmp_path: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    (tmp_path / "text").write_text("hello, this is no database at all, not even a small one")

    with pytest.raises(UnreadableError):
        opened(tmp_path / "text", pool, client, configured)
    with pytest.raises(UnreadableError, match="no such file"):
        opened(tmp_path / "nowhere", pool, client, configured)


def another(path: Path, key: str, user: str) -> Path:
    """A file of another installation, which counts from 1 too."""
    with closing(sqlite3.connect(path)) as file:
        file.executescript(
            f"""
            CREATE TABLE api_keys (id INTEGER PRIMARY KEY, api_key, user_id, plan, created_at);
            CREATE TABLE usage (id INTEGER PRIMARY KEY, created_at, api_key_id, user_id, model,
                                prompt_tokens, completion_tokens, cost_usd);
            INSERT INTO api_keys VALUES (1, '{key}', '{user}', 'pro', 1767225600);
            INSERT INTO usage VALUES (1, 1767225600, 1, '{user}', 'gpt', 10, 5, 0.000001);
            """
        )
    return path


async def test_a_second_file_with_the_same_numbers_brings_keys_of_its_own(
    tmp_path: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    for name in ("ann", "bob"):
        path = another(tmp_path / f"{name}.sqlite", f"sk-old-{name}", name)
        await opened(path, pool, client, configured).run(dry=False, progress=lambda *_: None)

    async with authenticating(pool, client, Live(configured)) as keys:
        ann, bob = await keys.caller("sk-old-ann"), await keys.caller("sk-old-bob")
    assert ("ann", "bob") == (ann.user_id, bob.user_id)
    assert ann.key_id != bob.key_id
    # Usage follows the keys.
    assert {(ann.key_id, "ann"), (bob.key_id, "bob")} == {
        tuple(row.values()) for row in await pool.fetch("SELECT key_id, user_id FROM usage_records")
    }
    trail = await pool.fetch("SELECT actor, action, subject FROM audit_events ORDER BY event_id")
    assert [("import", "import"), ("import", "key.import")] * 2 == [tuple(row.values())[:2] for row in trail]
    assert f"key:{ann.key_id}" == trail[1]["subject"]


async def test_a_file_that_grew_counts_only_what_is_new(
    tmp_path: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    path = another(tmp_path / "old.sqlite", "sk-old-ann", "ann")
    await opened(path, pool, client, configured).run(dry=False, progress=lambda *_: None)
    with closing(sqlite3.connect(path)) as file:
        file.execute("INSERT INTO usage VALUES (2, 1767225600, 1, 'ann', 'gpt', 10, 5, 0.000001)")
        file.execute("INSERT INTO api_keys VALUES (2, 'sk-old-ann', 'eve', 'pro', 1767225600)")
        file.commit()

    await opened(path, pool, client, configured).run(dry=False, progress=lambda *_: None)

    assert 2000 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'user:ann' AND period = 'total'"
    )
    # Nor does a second row take a key over.
    assert ["ann"] == [row["user_id"] for row in await pool.fetch("SELECT user_id FROM virtual_keys")]


async def test_a_name_that_could_be_taken_for_two_stays_behind(
    tmp_path: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    path = another(tmp_path / "old.sqlite", "sk-old-ann", "ann\nkey:k1")

    outcome = await opened(path, pool, client, configured).run(dry=False, progress=lambda *_: None)

    assert {"api_keys": 1, "usage": 1} == outcome.skipped
    assert all("user_id: expected" in problem for problem in outcome.problems)
    assert 0 == await pool.fetchval("SELECT count(*) FROM users")


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


async def test_extra_columns_are_left_alone_and_each_odd_row_is_refused_by_its_number(
    tmp_path: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    path = tmp_path / "odd.sqlite"
    good = {
        "created_at": 1767225600,
        "user_id": "ann",
        "model": "gpt",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_usd": 0.000001,
        "latency_ms": 1,
    }
    rows = [good, *({**good, name: value} for name, value in ODD), good]
    with closing(sqlite3.connect(path)) as file:
        # No number of a row can be told from its id here, and the first one is below 1.
        file.execute(
            f'CREATE TABLE usage (id TEXT, {", ".join(good)}, "total cost", "order", "say ""hi""", "x); --")'
        )
        marks = ", ".join("?" * len(good))
        for number, row in enumerate(rows):
            file.execute(
                f"INSERT INTO usage (rowid, id, {', '.join(good)}) VALUES (?, ?, {marks})",
                (number - 1, f"row-{number}", *row.values()),
            )
        # Text that is no UTF-8.
        file.execute("UPDATE usage SET model = CAST(x'ff' AS TEXT) WHERE model = x'fffe'")
        file.commit()

    outcome = await opened(path, pool, client, configured).run(dry=False, progress=lambda *_: None)

    assert ({"usage": 2}, {"usage": len(ODD)}) == (outcome.rows, outcome.skipped)
    assert 2 == await pool.fetchval("SELECT count(*) FROM usage_records")
    for number, (problem, (name, _)) in enumerate(zip(outcome.problems, ODD, strict=False), 1):
        assert problem.startswith(f"usage row-{number}: {name}: "), problem


async def test_an_odd_key_is_refused_and_the_others_are_imported(
    tmp_path: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    path = another(tmp_path / "odd.sqlite", "sk-old-ann", "ann")
    with closing(sqlite3.connect(path)) as file:
        file.execute("ALTER TABLE api_keys ADD COLUMN expires_at")
        file.executemany(
            "INSERT INTO api_keys VALUES (?, ?, 'ann', 'pro', 1767225600, ?)",
            [(2, b"sk-\xff", None), (3, "sk-nul\0", None), (4, "sk-old-four", 1e300)],
        )
        file.commit()

    outcome = await opened(path, pool, client, configured).run(dry=False, progress=lambda *_: None)

    assert ({"api_keys": 1, "usage": 1}, {"api_keys": 3}) == (outcome.rows, outcome.skipped)


async def test_a_file_that_sqlite_cannot_read_on_is_named(
    old: Path, pool: postgres.Pool, client: redis.Redis, configured: Plans
) -> None:
    whole = old.read_bytes()
    old.write_bytes(whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2))

    with pytest.raises(UnreadableError, match=r"old\.sqlite: database disk image is malformed"):
        await opened(old, pool, client, configured).run(dry=True, progress=lambda *_: None)
