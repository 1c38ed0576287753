"""Import keys and usage of the previous generation: `lumni import FILE`.

The file is SQLite with any of the tables below (docs/migration.md); other columns are not read. A row with a field
that cannot be kept as it is stays behind, counted and named. Rows are written in batches in their order, and after each
batch how far the import has come: one that was interrupted goes on where it stopped, and one that is run twice adds
nothing. A key is identified by its digest and usage by its row, so a file that grew and a second file that counts from
1 too are both imported rightly.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from services.chassis import config, configured_environment, redis
from services.chassis.config import Secret, Secrets, variable
from services.gateway import postgres
from services.gateway.cli import legacy_fields
from services.gateway.config import plans
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys import audit
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.digests import IMPORTED_PREFIX, Digests
from services.gateway.keys.store import ImportedKey, KeyStore
from services.gateway.ledger.rows import COST_PARTS, USAGE_COLUMNS, Ended, Kind
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter

ACTOR = "import"
Progress: TypeAlias = Callable[[str, int, int], None]
TIMEOUT_S = 30.0
BATCH = 1000
TABLES: Mapping[str, Sequence[str]] = {
    "api_keys": ("id", "api_key", "user_id", "plan", "created_at"),
    "usage": ("id", "created_at", "user_id", "model", "prompt_tokens", "completion_tokens", "cost_usd"),
}
# Read where they are there.
OPTIONAL: Mapping[str, Sequence[str]] = {
    "api_keys": ("expires_at", "revoked"),
    "usage": ("api_key_id", "provider", "category", "tier", "latency_ms", "status"),
}
# SQLite's own number of a row: the id where that is the integer primary key.
ROW = "rowid"
BEFORE_ALL = -(2**63)


@dataclass(frozen=True)
class Settings:
    """Where to import it; the same as the gateway's."""

    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    redis_url: Secret = variable("REDIS_URL", doc="address of Redis")
    secret: Secrets = variable("LUMNI_KEY_SECRET", Secrets(""), "what keys the digests of keys")
    config_dir: Path = variable("LUMNI_CONFIG_DIR", Path("config"), "where lumni.yaml is")


async def import_file(path: Path, *, dry: bool, progress: Progress) -> "Outcome":
    """Import a file, or only look whether it could be.

    Raises:
        Mistakes: the environment lacks something.
        UnreadableError: the file is none that can be imported.
    """
    settings = config.from_environ(Settings, configured_environment.of_gateway(config.environment()))
    known = plans.load(settings.config_dir / "lumni.yaml")
    async with (
        postgres.pool(settings.database.reveal(), size=2, timeout_s=TIMEOUT_S) as pool,
        redis.connect(settings.redis_url.reveal(), timeout_s=TIMEOUT_S) as client,
    ):
        digests = Digests(settings.secret, Secrets(""))
        keys = KeyStore(KeyDatabase(pool, client), Live(known), digests)
        writer = LedgerWriter(client, LedgerStore(pool))
        return await Import(path, pool, keys, writer, known, digests).run(dry=dry, progress=progress)


class UnreadableError(Exception):
    """The file is none that can be imported, and why."""


@dataclass
class Outcome:
    """What an import did, or would do."""

    rows: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    # The first rows that cannot be imported, with the reason.
    problems: list[str] = field(default_factory=list)

    def refuse(self, table: str, ident: Any, reason: str) -> None:
        """Note a row that stays behind."""
        self.skipped[table] = self.skipped.get(table, 0) + 1
        if len(self.problems) < 20:
            self.problems.append(f"{table} {ident}: {reason}")


class Import:
    """One file on its way into the database."""

    def __init__(
        self,
        path: Path,
        pool: postgres.Pool,
        keys: KeyStore,
        writer: LedgerWriter,
        plans: Plans,
        digests: Digests,
    ) -> None:
        """Open the file.

        Raises:
            UnreadableError: it is no SQLite file, or lacks a table or column that is needed.
        """
        self._path = path
        self._pool = pool
        self._keys = keys
        self._writer = writer
        self._plans = plans
        self._digests = digests
        self._digest = _digest(path)
        self._columns = _columns(path)
        self._key_ids = self._read_key_ids()

    async def run(self, *, dry: bool, progress: Progress) -> Outcome:
        """Import everything, or only look whether it could be; `progress` gets table, rows done, rows in all.

        Raises:
            UnreadableError: SQLite cannot read on; what was imported stays.
        """
        try:
            return await self._run(dry=dry, progress=progress)
        except sqlite3.Error as error:
            raise UnreadableError(f"{self._path.name}: {error}") from error

    async def _run(self, *, dry: bool, progress: Progress) -> Outcome:
        outcome = Outcome()
        if not dry:
            async with postgres.connection(self._pool) as connection, connection.transaction():
                await audit.append(
                    connection, ACTOR, "import", f"file:{self._digest[:16]}", {"file": self._path.name}
                )
        for table, columns in self._columns.items():
            done = BEFORE_ALL if dry else await self._last_row(table)
            with closing(_open(self._path)) as source:
                total = source.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                seen = source.execute(f"SELECT count(*) FROM {table} WHERE {ROW} <= ?", (done,)).fetchone()[0]  # noqa: S608
                for batch in _batches(source, table, columns, done):
                    outcome.rows[table] = outcome.rows.get(table, 0) + await self._import_batch(
                        table, batch, outcome, dry=dry
                    )
                    seen += len(batch)
                    if not dry:
                        await self._save_last_row(table, batch[-1][ROW])
                    progress(table, seen, total)
        return outcome

    async def _import_batch(
        self, table: str, batch: Sequence[Mapping[str, Any]], outcome: Outcome, *, dry: bool
    ) -> int:
        if table == "api_keys":
            return await self._import_keys(batch, outcome, dry=dry)
        events = []
        for row in batch:
            try:
                events.append(self._usage(row))
            except ValueError as error:
                outcome.refuse(table, row["id"], str(error))
        if not dry and events:
            await self._writer.write(events)
        return len(events)

    async def _import_keys(self, batch: Sequence[Mapping[str, Any]], outcome: Outcome, *, dry: bool) -> int:
        good = []
        for row in batch:
            try:
                good.append(self._key(row))
            except ValueError as error:
                outcome.refuse("api_keys", row["id"], str(error))
        if good and not dry:
            await self._keys.import_keys(ACTOR, good, self._path.name)
        return len(good)

    def _key(self, row: Mapping[str, Any]) -> ImportedKey:
        key = legacy_fields.text("api_key", row["api_key"])
        if not key.startswith(IMPORTED_PREFIX):
            raise ValueError("api_key must hold the key itself, beginning with sk-")
        plan = str(row["plan"] or self._plans.default.name)
        if plan not in self._plans.by_name:
            raise ValueError(f"there is no plan {plan!r}")
        created = legacy_fields.moment("created_at", row["created_at"])
        revoked = row.get("revoked")
        return ImportedKey(
            key_id=self._key_id(key),
            secret=key,
            user_id=legacy_fields.user(row["user_id"]) or None,
            plan=plan,
            created_at=created,
            expires_at=legacy_fields.moment("expires_at", row["expires_at"])
            if row.get("expires_at")
            else None,
            revoked_at=created if revoked and str(revoked).lower() not in ("0", "false") else None,
        )

    def _key_id(self, key: str) -> str:
        """The same for the same key, whatever its number in whichever file."""
        return f"imported_{hashlib.sha256(self._digests.of(key)).hexdigest()[:16]}"

    def _usage(self, row: Mapping[str, Any]) -> Ended:
        started = legacy_fields.moment("created_at", row["created_at"])
        identity = "\n".join(str(row[name]) for name in ("id", "created_at", "user_id", "model"))
        request = f"import-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
        failed = str(row.get("status") or "success").lower() not in ("success", "succeeded", "ok", "200")
        values: dict[str, Any] = {
            **dict.fromkeys(USAGE_COLUMNS, 0),
            **dict.fromkeys(("tenant", "organization_id", "plan", "deployment", "error_class"), ""),
            **dict.fromkeys(("cache_result", "experiment_id", "variant"), ""),
            "experiment_unit": None,
            "attempt_id": f"{request}/1",
            "request_id": request,
            "started_at": started,
            "admitted_at": started,
            "kind": Kind.FAILED.value if failed else Kind.FINAL.value,
            "key_id": self._key_ids.get(row.get("api_key_id"), ""),
            "user_id": legacy_fields.user(row["user_id"]),
            **{
                name: legacy_fields.text(name, row.get(name))
                for name in ("model", "provider", "category", "tier")
            },
            "operation": "chat",
            "stream": False,
            "estimated": False,
            "prompt_tokens": legacy_fields.tokens("prompt_tokens", row["prompt_tokens"]),
            "completion_tokens": legacy_fields.tokens("completion_tokens", row["completion_tokens"]),
            **dict.fromkeys(COST_PARTS),
            "cost_nano_usd": legacy_fields.nano_usd("cost_usd", row["cost_usd"]),
            "duration_ms": legacy_fields.milliseconds("latency_ms", row.get("latency_ms")),
            "first_chunk_ms": 0.0,
            "metadata": {"imported_from": self._path.name},
        }
        values["max_cost_nano_usd"] = values["cost_nano_usd"]
        return Ended(values["attempt_id"], request, tuple(values[name] for name in USAGE_COLUMNS), last=True)

    def _read_key_ids(self) -> dict[Any, str]:
        if "api_keys" not in self._columns:
            return {}
        with closing(_open(self._path)) as source:
            rows = source.execute("SELECT id, api_key FROM api_keys WHERE api_key LIKE 'sk-%'")
            return {
                row["id"]: self._key_id(row["api_key"]) for row in rows if isinstance(row["api_key"], str)
            }

    async def _last_row(self, table: str) -> int:
        async with postgres.connection(self._pool) as connection:
            found = await connection.fetchval(
                "SELECT last_row FROM imports WHERE file_digest = $1 AND source = $2", self._digest, table
            )
        return BEFORE_ALL if found is None else int(found)

    async def _save_last_row(self, table: str, last: int) -> None:
        async with postgres.connection(self._pool) as connection:
            await connection.execute(
                "INSERT INTO imports (file_digest, source, last_row) VALUES ($1, $2, $3) "
                "ON CONFLICT (file_digest, source) DO UPDATE SET last_row = excluded.last_row, imported_at = now()",
                self._digest,
                table,
                last,
            )


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str | bytes:
    """Text, or what it is made of when that is no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _columns(path: Path) -> dict[str, list[str]]:
    """The tables that are there, with those of their columns that are read."""
    if not path.is_file():
        raise UnreadableError(f"{path}: there is no such file")
    found = {}
    try:
        with closing(_open(path)) as source:
            for table, needed in TABLES.items():
                columns = [row["name"] for row in source.execute(f"PRAGMA table_info({table})")]
                if not columns:
                    continue
                missing = [name for name in needed if name not in columns]
                if missing:
                    raise UnreadableError(f"{path.name}: the table {table} lacks {', '.join(missing)}")
                found[table] = [*needed, *(name for name in OPTIONAL[table] if name in columns)]
    except sqlite3.DatabaseError as error:
        raise UnreadableError(f"{path.name}: {error}") from error
    if not found:
        raise UnreadableError(f"{path.name}: has none of the tables {', '.join(TABLES)}")
    return found


def _batches(
    source: sqlite3.Connection, table: str, columns: Sequence[str], after: int
) -> Iterator[list[dict[str, Any]]]:
    while True:
        rows = source.execute(
            f"SELECT {ROW} AS {ROW}, {', '.join(columns)} FROM {table} WHERE {ROW} > ? ORDER BY {ROW} LIMIT ?",  # noqa: S608
            (after, BATCH),
        ).fetchall()
        if not rows:
            return
        yield [dict(row) for row in rows]
        after = rows[-1][ROW]


def _digest(path: Path) -> str:
    if not path.is_file():
        raise UnreadableError(f"{path}: there is no such file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
