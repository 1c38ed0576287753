"""Records into tables, in the caller's transaction; what is there already stays as it is, so twice is once."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from services.gateway import postgres
from services.gateway.imports.records import Key, Limits, Organization, Spend, User
from services.gateway.keys import owners
from services.gateway.keys import store as keys
from services.gateway.keys.digests import Digests
from services.gateway.keys.store import ImportedKey
from services.gateway.ledger import store
from services.gateway.ledger.rows import COST_PARTS, TOKEN_COLUMNS, USAGE_COLUMNS, Sum

ACTOR = "import"
NANO = Decimal(10) ** 9
SHA256_HEX = 64

TEMPORARY = """
CREATE TEMPORARY TABLE IF NOT EXISTS imported_costs (
    attempt_id text PRIMARY KEY, key_id text, model text, day date, nano_usd numeric
) ON COMMIT DELETE ROWS
"""
# A cost may be finer than a nano-dollar. What is rounded, half up, is the running sum of a key, day and model, so that
# their rows add up to the source's exact sum, rounded once; rows of an earlier import come first, for they have theirs.
ROUND = """
UPDATE incoming i SET cost_nano_usd = r.nano_usd, max_cost_nano_usd = r.nano_usd
FROM (
    SELECT attempt_id, round(upto) - round(upto - nano_usd) AS nano_usd
    FROM (
        SELECT c.attempt_id, c.nano_usd, sum(c.nano_usd) OVER (
            PARTITION BY c.key_id, c.model, c.day ORDER BY u.attempt_id IS NULL, i.started_at, i.attempt_id
            ROWS UNBOUNDED PRECEDING
        ) AS upto
        FROM imported_costs c JOIN incoming i USING (attempt_id)
        LEFT JOIN usage_records u ON u.attempt_id = i.attempt_id AND u.started_at = i.started_at
    ) AS running
) AS r
WHERE r.attempt_id = i.attempt_id
"""
# Keys, days and models whose rows do not add up to what the source has.
DIFFERENT = """
SELECT c.key_id, c.model, c.day, round(sum(c.nano_usd)) AS expected, sum(u.cost_nano_usd) AS found
FROM imported_costs c JOIN incoming i USING (attempt_id)
JOIN usage_records u ON u.attempt_id = i.attempt_id AND u.started_at = i.started_at
GROUP BY 1, 2, 3 HAVING round(sum(c.nano_usd)) <> sum(u.cost_nano_usd) ORDER BY 1, 2, 3 LIMIT 5
"""
KNOWN = "SELECT key_id FROM virtual_keys WHERE key_id = ANY($1)"
WRITTEN = "SELECT count(*) AS rows, coalesce(sum(cost_nano_usd), 0)::bigint AS nano_usd FROM changed"


class DifferentError(Exception):
    """What is written does not add up to what the source has: a row of an earlier import was another then."""


@dataclass
class Written:
    """What was not there yet, by kind of record; and the sums that gateways are to know."""

    new: Counter[str] = field(default_factory=Counter)
    nano_usd: int = 0
    sums: Sequence[Sum] = ()


class Writer:
    """Writes the records of one source."""

    def __init__(self, connection: postgres.Connection, digests: Digests, plan: str, source: str) -> None:
        """Write.

        Args:
            connection: Within the transaction.
            digests: How keys are stored.
            plan: The plan of keys that name none.
            source: What the audit trail calls the source.
        """
        self._connection = connection
        self._digests = digests
        self._plan = plan
        self._source = source
        # By what the source calls a key; usage may belong to none.
        self._key_ids = {"": ""}
        self._written = Written()

    @staticmethod
    async def prepare(connection: postgres.Connection) -> None:
        """Make what rows are staged in; before the transaction begins."""
        await store.prepare(connection)
        await connection.execute(TEMPORARY)

    async def add(self, batch: Sequence[Organization | User | Key | Spend]) -> None:
        """Write owners and keys; stage what was spent."""
        await self._find_keys(batch)
        spends = []
        for record in batch:
            match record:
                case Organization():
                    await self._owner(f"organization:{record.organization_id}", record.limits)
                case User():
                    await self._owner(f"user:{record.user_id}", record.limits)
                case Key():
                    await self._key(record)
                case Spend():
                    spends.append(record)
        if spends:
            await self._stage(spends)

    async def finish(self) -> Written:
        """Write what was spent.

        Raises:
            DifferentError: a sum is not the source's.
        """
        # A temporary table is analyzed by nobody else, and a plan for an empty one takes hours for millions of rows.
        await self._connection.execute("ANALYZE incoming, imported_costs")
        await self._connection.execute(ROUND)
        self._written.sums = await store.write_staged(self._connection)
        if different := await self._connection.fetch(DIFFERENT):
            lines = [
                f"key {row['key_id'] or '-'}, {row['model']}, {row['day']}: the source has {row['expected']} "
                f"nano-USD, here are {row['found']}"
                for row in different
            ]
            raise DifferentError("; ".join(lines))
        row = await self._connection.fetchrow(WRITTEN)
        assert row is not None
        self._written.new["requests"] += row["rows"]
        self._written.nano_usd = row["nano_usd"]
        return self._written

    async def _owner(self, subject: str, limits: Limits) -> None:
        kind = "users" if subject.startswith("user:") else "organizations"
        self._written.new[kind] += await owners.import_owner(
            self._connection, ACTOR, subject, asdict(limits), self._source
        )

    async def _key(self, key: Key) -> None:
        if key.organization_id:
            await owners.make_organizations(self._connection, [key.organization_id])
        if key.user_id:
            await owners.make_users(self._connection, [key.user_id])
        row = ImportedKey(
            key_id=self._key_ids[key.ref],
            digests=self._accepted(key) if key.secret or key.sha256 else [],
            digest_of="sha256" if key.sha256 else "key",
            hint=key.hint,
            user_id=key.user_id,
            organization_id=key.organization_id,
            plan=key.plan or self._plan,
            models=list(key.models),
            **asdict(key.limits),
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            metadata=key.metadata,
            keyed_by=self._digests.keyed_by,
        )
        self._written.new["keys"] += await keys.import_key(self._connection, ACTOR, row, self._source)

    async def _find_keys(self, batch: Sequence[Organization | User | Key | Spend]) -> None:
        """Work out the ids of keys: that of an earlier import where there is one, under whichever secret that was."""
        possible: dict[str, list[str]] = {}
        for record in batch:
            match record:
                case Key(ref=ref) | Spend(key_ref=ref) if ref not in self._key_ids and ref not in possible:
                    possible[ref] = [_id_of(digest) for digest in self._accepted(record)]
        rows = await self._connection.fetch(
            KNOWN, [ident for idents in possible.values() for ident in idents]
        )
        known = {row["key_id"] for row in rows}
        for ref, idents in possible.items():
            self._key_ids[ref] = next((ident for ident in idents if ident in known), idents[0])

    def _accepted(self, record: Key | Spend) -> list[bytes]:
        """Digests of a key under each secret, the same wherever it is read; keyed, so that no weak key can be guessed.

        Of a key that was deleted there only its usage tells.
        """
        if isinstance(record, Key):
            if record.secret:
                return self._digests.accepted(record.secret)
            if record.sha256:
                return self._digests.accepted_hashed(record.sha256)
        ref = record.ref if isinstance(record, Key) else record.key_ref
        if len(ref) == SHA256_HEX and all(letter in "0123456789abcdef" for letter in ref):
            return self._digests.accepted_hashed(bytes.fromhex(ref))
        return self._digests.accepted(ref)

    async def _stage(self, spends: Sequence[Spend]) -> None:
        rows, costs = [], []
        for spend in spends:
            request = f"import-{hashlib.sha256(spend.identity.encode()).hexdigest()[:32]}"
            key_id = self._key_ids[spend.key_ref]
            values = _values(spend, request, key_id)
            rows.append(tuple(values[name] for name in USAGE_COLUMNS))
            costs.append((values["attempt_id"], key_id, spend.model, spend.at.date(), spend.cost_usd * NANO))
        await store.stage(self._connection, rows)
        await self._connection.copy_records_to_table("imported_costs", records=costs)


def _id_of(digest: bytes) -> str:
    return f"imported_{hashlib.sha256(digest).hexdigest()[:16]}"


def _values(spend: Spend, request: str, key_id: str) -> dict[str, Any]:
    """A row of usage_records without its cost, which is rounded when all rows are there."""
    return {
        **dict.fromkeys(USAGE_COLUMNS, ""),
        **dict.fromkeys(TOKEN_COLUMNS, 0),
        **dict.fromkeys(COST_PARTS),
        **spend.tokens,
        "attempt_id": f"{request}/1",
        "request_id": request,
        "started_at": spend.at,
        "admitted_at": spend.at,
        "kind": spend.kind.value,
        "key_id": key_id,
        "user_id": spend.user_id,
        "organization_id": spend.organization_id,
        "model": spend.model,
        "provider": spend.provider,
        "operation": spend.operation,
        "category": spend.category,
        "tier": spend.tier,
        "stream": spend.stream,
        "estimated": False,
        "cost_nano_usd": 0,
        "max_cost_nano_usd": 0,
        "duration_ms": spend.duration_ms,
        "first_chunk_ms": spend.first_chunk_ms,
        "status_code": spend.status_code,
        "metadata": spend.metadata,
        "saved_nano_usd": 0,
        "experiment_unit": None,
    }
