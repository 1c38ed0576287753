"""Virtual keys in PostgreSQL: made, changed, rotated and revoked.

Secrets are shown once and never stored.
"""

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.chassis import errors
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys import audit, changes, counters, digests, owners, rekeying
from services.gateway.keys.columns import assignments
from services.gateway.keys.database import KeyDatabase, found
from services.gateway.keys.digests import Digests

log = logging.getLogger(__name__)

# The last characters of a secret, so that people can tell their keys apart.
HINT = 4

FIND = """
SELECT * FROM virtual_keys WHERE key_id > $1 AND ($2::text IS NULL OR user_id = $2)
AND ($3::text IS NULL OR organization_id = $3) AND ($4::text IS NULL OR plan = $4)
ORDER BY key_id LIMIT $5
"""
REVOKE = """
UPDATE virtual_keys SET revoked_at = coalesce(revoked_at, now()), changed_at = clock_timestamp()
WHERE key_id = $1 RETURNING *
"""
REVOKE_ALL = """
UPDATE virtual_keys SET revoked_at = now(), changed_at = clock_timestamp() WHERE user_id = $1 AND revoked_at IS NULL
"""
INSERT_DIGEST = "INSERT INTO key_secrets (digest, keyed_by, key_id, idempotency_key) VALUES ($1, $2, $3, $4)"
EXPIRE_SECRETS = """
UPDATE key_secrets SET valid_until = least(valid_until, now() + make_interval(secs => $2)) WHERE key_id = $1
"""
# A key that is there already stays as it is, and so does one whose secret is.
IMPORT = """
WITH made AS (
    INSERT INTO virtual_keys (
        key_id, hint, user_id, organization_id, plan, models, rpm_limit, tpm_limit, parallel_limit, budget_nano_usd,
        budget_period, created_at, expires_at, revoked_at, metadata)
    SELECT $1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, coalesce($14, now()), $15, $16, $17
    WHERE NOT EXISTS (SELECT FROM virtual_keys WHERE key_id = $1)
      AND NOT EXISTS (SELECT FROM key_secrets WHERE digest = ANY($2::bytea[]))
    RETURNING key_id
), secret AS (
    INSERT INTO key_secrets (digest, key_id, digest_of, keyed_by)
    SELECT ($2::bytea[])[1], key_id, $3, $18 FROM made WHERE cardinality($2::bytea[]) > 0
)
SELECT key_id FROM made
"""

REKEY = """
UPDATE key_secrets SET digest = $2, digest_of = 'key', keyed_by = $3 WHERE digest = $1 AND NOT EXISTS
(SELECT FROM key_secrets WHERE digest = $2)
"""


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A key of another system, as its row is here."""

    key_id: str
    # What is stored of its secret: a digest of the key, or of its SHA-256; none where the other system shows neither.
    # Behind the first are those under earlier secrets, by which it may be known already.
    digests: Sequence[bytes]
    digest_of: str
    hint: str
    user_id: str | None
    organization_id: str | None
    plan: str
    models: Sequence[str]
    rpm_limit: int | None
    tpm_limit: int | None
    parallel_limit: int | None
    budget_nano_usd: int | None
    budget_period: str
    created_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    metadata: Mapping[str, Any]
    # The fingerprint of the secret that keyed the first of the digests.
    keyed_by: str


async def import_key(connection: postgres.Connection, actor: str, key: ImportedKey, source: str) -> bool:
    """Take over a key from `source` in the current transaction; whether it was not there yet."""
    made = await connection.fetchval(IMPORT, *astuple(key))
    if not made:
        return False
    detail = {
        "user_id": key.user_id,
        "organization_id": key.organization_id,
        "plan": key.plan,
        "source": source,
    }
    await audit.append(connection, actor, "key.import", f"key:{key.key_id}", detail)
    await changes.record(connection, f"key:{key.key_id}")
    return True


async def rekey(connection: postgres.Connection, old: bytes, new: bytes, keyed_by: str) -> None:
    """Store a key as a new one is stored, as it was found under an earlier secret or as another system kept it.

    Only when it is used, for only who holds a key has what its digest is made of.

    Where it cannot be stored, or another process was quicker, the key is good all the same.
    """
    try:
        await connection.execute(REKEY, old, new, keyed_by)
    except asyncpg.UniqueViolationError:
        return
    except asyncpg.PostgresError as error:
        log.warning("a key stays as it was stored before for now: %s", error)


class KeyStore:
    """Keys, each change with its event in the audit trail."""

    def __init__(self, database: KeyDatabase, plans: Live[Plans], digests: Digests) -> None:
        self._database = database
        self._plans = plans
        self._digests = digests

    async def create(self, actor: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key; the answer holds its secret, this once.

        Raises:
            Invalid: the plan is not known.
        """
        secret = digests.generate()
        key_id = f"key_{secrets.token_hex(8)}"
        given = {name: value for name, value in fields.items() if value is not None}
        given.setdefault("plan", self._plans.current.default.name)
        self._check_plan(given)
        columns = ["key_id", "hint", *given]
        places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
        async with self._database.change(f"key:{key_id}") as connection:
            await owners.make(connection, given)
            row = await connection.fetchrow(
                f"INSERT INTO virtual_keys ({', '.join(columns)}) VALUES ({places}) RETURNING *",  # noqa: S608
                key_id,
                secret[-HINT:],
                *given.values(),
            )
            await connection.execute(
                INSERT_DIGEST, self._digests.of(secret), self._digests.keyed_by, key_id, None
            )
            await audit.append(connection, actor, "key.create", f"key:{key_id}", given)
        return {**found(row, key_id), "key": secret}

    async def find(
        self,
        *,
        user_id: str | None = None,
        organization_id: str | None = None,
        plan: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Keys in the order of their ids, from the one behind `after` on."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND, after, user_id, organization_id, plan, limit)
        return [dict(row) for row in rows]

    async def get(self, key_id: str) -> dict[str, Any]:
        """One key.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM virtual_keys WHERE key_id = $1", key_id)
        return found(row, key_id)

    async def change(self, actor: str, key_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Change some fields of a key; null means the plan's again.

        Raises:
            Invalid: the plan is not known, or a field that must be there is null.
            NotFound: there is no such key.
        """
        if not fields:
            return await self.get(key_id)
        self._check_plan(fields)
        async with self._database.change(f"key:{key_id}") as connection:
            await owners.make(connection, fields)
            row = await connection.fetchrow(
                f"UPDATE virtual_keys SET {assignments(fields)}changed_at = clock_timestamp() "  # noqa: S608
                "WHERE key_id = $1 RETURNING *",
                key_id,
                *fields.values(),
            )
            changed = found(row, key_id)
            await audit.append(connection, actor, "key.change", f"key:{key_id}", fields)
        return changed

    async def change_all(self, actor: str, user_id: str, fields: Mapping[str, Any]) -> int:
        """Change some fields of all keys of a user; how many there are.

        Raises:
            Invalid: the plan is not known, or nothing is to be changed.
        """
        if not fields:
            raise errors.Invalid("name at least one field to change")
        self._check_plan(fields)
        async with self._database.change(f"user:{user_id}") as connection:
            await owners.make(connection, fields)
            status = await connection.execute(
                f"UPDATE virtual_keys SET {assignments(fields)}changed_at = clock_timestamp() "  # noqa: S608
                "WHERE user_id = $1",
                user_id,
                *fields.values(),
            )
            await audit.append(connection, actor, "user.change_keys", f"user:{user_id}", fields)
        return int(status.rpartition(" ")[2])

    async def rotate(
        self, actor: str, key_id: str, *, grace_s: int, idempotency_key: str | None
    ) -> dict[str, Any]:
        """Give a key a new secret; the old ones work for `grace_s` more seconds.

        The same idempotency key gives the same secret again, should its first answer have got lost.

        Raises:
            NotFound: there is no such key.
            Conflict: it is revoked, or the idempotency key is from another installation's secret.
        """
        subject = f"key:{key_id}"
        secret = (
            self._digests.derived(f"rotate\n{key_id}\n{idempotency_key}")
            if idempotency_key
            else digests.generate()
        )
        digest = self._digests.of(secret)
        async with self._database.change(subject) as connection:
            row = found(
                await connection.fetchrow("SELECT * FROM virtual_keys WHERE key_id = $1 FOR UPDATE", key_id),
                key_id,
            )
            if row["revoked_at"] is not None:
                raise errors.Conflict(f"the key {key_id} is revoked", reason="KEY_REVOKED")
            earlier = await connection.fetchval(
                "SELECT digest FROM key_secrets WHERE key_id = $1 AND idempotency_key = $2",
                key_id,
                idempotency_key,
            )
            if earlier is None:
                await connection.execute(EXPIRE_SECRETS, key_id, grace_s)
                await connection.execute(
                    INSERT_DIGEST, digest, self._digests.keyed_by, key_id, idempotency_key
                )
                await connection.execute(
                    "UPDATE virtual_keys SET hint = $2, changed_at = clock_timestamp() WHERE key_id = $1",
                    key_id,
                    secret[-HINT:],
                )
                await audit.append(connection, actor, "key.rotate", subject, {"grace_s": grace_s})
            elif earlier != digest:
                raise errors.Conflict(
                    "this idempotency key was used under another secret; use a new one",
                    reason="IDEMPOTENCY_CONFLICT",
                )
            until = await connection.fetchval(
                "SELECT max(valid_until) FROM key_secrets WHERE key_id = $1 AND digest <> $2", key_id, digest
            )
        return {**row, "hint": secret[-HINT:], "key": secret, "old_valid_until": until}

    async def revoke(self, actor: str, key_id: str) -> dict[str, Any]:
        """End a key for good; ending it twice is fine.

        Raises:
            NotFound: there is no such key.
        """
        async with self._database.change(f"key:{key_id}", revoked=True) as connection:
            revoked = found(await connection.fetchrow(REVOKE, key_id), key_id)
            await audit.append(connection, actor, "key.revoke", f"key:{key_id}", {})
        return revoked

    async def revoke_all(self, actor: str, user_id: str) -> int:
        """End all keys of a user; how many there were."""
        async with self._database.change(f"user:{user_id}", revoked=True) as connection:
            status = await connection.execute(REVOKE_ALL, user_id)
            await audit.append(connection, actor, "user.revoke_keys", f"user:{user_id}", {})
        return int(status.rpartition(" ")[2])

    async def reset_limits(self, actor: str, key_id: str) -> None:
        """Let a key begin the current minute anew; what it spent stays spent.

        Raises:
            NotFound: there is no such key.
            Unavailable: Redis does not answer.
        """
        await self.get(key_id)
        await counters.reset_rates(self._database.redis, key_id)
        async with self._database.change(f"key:{key_id}") as connection:
            await audit.append(connection, actor, "key.reset_limits", f"key:{key_id}", {})

    async def secret_progress(self) -> dict[str, Any]:
        """How many keys there are, and which of them still need an earlier LUMNI_KEY_SECRET."""
        async with self._database.connection() as connection:
            return await rekeying.progress(connection, self._digests.keyed_by)

    def _check_plan(self, fields: Mapping[str, Any]) -> None:
        plans = self._plans.current.by_name
        if "plan" in fields and fields["plan"] not in plans:
            raise errors.Invalid(
                f"plan: there is no plan {fields['plan']!r}; known: {', '.join(sorted(plans))}", param="plan"
            )
