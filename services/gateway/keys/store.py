"""What admins change: keys, users and organizations, each change with its trace in the audit trail.

Every change tells the gateways' caches: by a row in `key_changes` in the same transaction, and by an entry in a Redis
stream after it. Secrets are shown once and never stored.
"""

import logging
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
from lumni.chat.v1 import chat_pb2

from services.chassis import errors, redis, redis_keys
from services.gateway import postgres
from services.gateway.keys.authenticator import CHANGES_KEPT_S, PREFIX, Keys

log = logging.getLogger(__name__)

# What ids may look like: nothing that a log, a path or a counter's name would have to escape.
IDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}")
# What an admin may set, by the column it goes to.
KEY_FIELDS = (
    "user_id organization_id plan models rpm_limit tpm_limit parallel_limit budget_nano_usd budget_period "
    "expires_at metadata powerful_share"
).split()
HINT = 4
# What is kept about a user, and how it is found.
OWN = "user_id = $1"
ABOUT = (
    "subject IN (SELECT 'user:' || $1::text "
    "UNION SELECT 'key:' || key_id FROM virtual_keys WHERE user_id = $1::text)"
)
KEPT: Mapping[str, str] = {
    "users": OWN,
    "virtual_keys": OWN,
    "usage_records": OWN,
    "usage_metrics": OWN,
    "budget_spend": ABOUT,
    "task_classifications": OWN,
    "model_selections": OWN,
    "feedback": OWN,
    "audit_events": f"({ABOUT} OR detail ->> 'user_id' = $1::text)",
}
# Rows that one statement erases or exports.
BATCH = 5000
SLOW_S = 60.0
# By then every request of an erased user is settled, in seconds.
FORGOTTEN_S = 86400


class Registry:
    """Keys, users and organizations in PostgreSQL."""

    def __init__(self, pool: postgres.Pool, client: redis.Redis, keys: Keys) -> None:
        """Write through `pool`, and tell the others through `client`."""
        self._pool = pool
        self._redis = client
        self._keys = keys

    async def create(self, actor: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key; the answer holds its secret, this once.

        Raises:
            Invalid: the plan is not known.
        """
        key = PREFIX + secrets.token_urlsafe(32)
        key_id = f"key_{secrets.token_hex(8)}"
        given = {"plan": self._keys.plans.default.name, **_without_nulls(fields)}
        self._check_plan(given)
        async with self._transaction() as connection:
            await _make_owners(connection, given)
            columns = ["key_id", "hint", *given]
            places = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
            row = await connection.fetchrow(
                f"INSERT INTO virtual_keys ({', '.join(columns)}) VALUES ({places}) RETURNING *",  # noqa: S608
                key_id,
                key[-HINT:],
                *given.values(),
            )
            await connection.execute(
                "INSERT INTO key_secrets (digest, key_id) VALUES ($1, $2)", self._keys.digest(key), key_id
            )
            await note(connection, actor, "key.create", f"key:{key_id}", _told(given))
        await self._announce(f"key:{key_id}")
        assert row is not None
        return {**dict(row), "key": key}

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
        async with self._connection() as connection:
            rows = await connection.fetch(
                "SELECT * FROM virtual_keys WHERE key_id > $1 AND ($2::text IS NULL OR user_id = $2) "
                "AND ($3::text IS NULL OR organization_id = $3) AND ($4::text IS NULL OR plan = $4) "
                "ORDER BY key_id LIMIT $5",
                after,
                user_id,
                organization_id,
                plan,
                limit,
            )
        return [dict(row) for row in rows]

    async def get(self, key_id: str) -> dict[str, Any]:
        """One key.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._connection() as connection:
            row = await connection.fetchrow("SELECT * FROM virtual_keys WHERE key_id = $1", key_id)
        return _found(row, key_id)

    async def change(self, actor: str, key_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Change some fields of a key; null means the plan's again.

        Raises:
            Invalid: the plan is not known, or a field that must be there is null.
            NotFound: there is no such key.
        """
        if not fields:
            return await self.get(key_id)
        self._check_plan(fields)
        async with self._transaction() as connection:
            await _make_owners(connection, fields)
            row = await connection.fetchrow(
                f"UPDATE virtual_keys SET {_assignments(fields)}, changed_at = clock_timestamp() "  # noqa: S608
                "WHERE key_id = $1 RETURNING *",
                key_id,
                *fields.values(),
            )
            changed = _found(row, key_id)
            await note(connection, actor, "key.change", f"key:{key_id}", _told(fields))
        await self._announce(f"key:{key_id}")
        return changed

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
            self._keys.derived(f"rotate\n{key_id}\n{idempotency_key}")
            if idempotency_key
            else PREFIX + secrets.token_urlsafe(32)
        )
        digest = self._keys.digest(secret)
        async with self._transaction() as connection:
            row = _found(
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
                await connection.execute(
                    "UPDATE key_secrets SET valid_until = least(valid_until, now() + make_interval(secs => $2)) "
                    "WHERE key_id = $1",
                    key_id,
                    grace_s,
                )
                await connection.execute(
                    "INSERT INTO key_secrets (digest, key_id, idempotency_key) VALUES ($1, $2, $3)",
                    digest,
                    key_id,
                    idempotency_key,
                )
                await connection.execute(
                    "UPDATE virtual_keys SET hint = $2, changed_at = clock_timestamp() WHERE key_id = $1",
                    key_id,
                    secret[-HINT:],
                )
                await note(connection, actor, "key.rotate", subject, {"grace_s": grace_s})
            elif earlier != digest:
                raise errors.Conflict(
                    "this idempotency key was used under another secret; use a new one",
                    reason="IDEMPOTENCY_CONFLICT",
                )
            until = await connection.fetchval(
                "SELECT max(valid_until) FROM key_secrets WHERE key_id = $1 AND digest <> $2", key_id, digest
            )
        await self._announce(subject)
        return {**row, "hint": secret[-HINT:], "key": secret, "old_valid_until": until}

    async def revoke(self, actor: str, key_id: str) -> dict[str, Any]:
        """End a key for good; ending it twice is fine.

        Raises:
            NotFound: there is no such key.
        """
        async with self._transaction() as connection:
            row = await connection.fetchrow(
                "UPDATE virtual_keys SET revoked_at = coalesce(revoked_at, now()), changed_at = clock_timestamp() "
                "WHERE key_id = $1 RETURNING *",
                key_id,
            )
            revoked = _found(row, key_id)
            await note(connection, actor, "key.revoke", f"key:{key_id}", {})
        await self._announce(f"key:{key_id}", "revoked")
        return revoked

    async def revoke_all(self, actor: str, user_id: str) -> int:
        """End all keys of a user; how many there were."""
        async with self._transaction() as connection:
            status = await connection.execute(
                "UPDATE virtual_keys SET revoked_at = now(), changed_at = clock_timestamp() "
                "WHERE user_id = $1 AND revoked_at IS NULL",
                user_id,
            )
            await note(connection, actor, "user.revoke_keys", f"user:{user_id}", {})
        await self._announce(f"user:{user_id}", "revoked")
        return int(status.rpartition(" ")[2])

    async def change_all(self, actor: str, user_id: str, fields: Mapping[str, Any]) -> int:
        """Change some fields of all keys of a user; how many there are.

        Raises:
            Invalid: the plan is not known, or nothing is to be changed.
        """
        if not fields:
            raise errors.Invalid("name at least one field to change")
        self._check_plan(fields)
        async with self._transaction() as connection:
            await _make_owners(connection, fields)
            status = await connection.execute(
                f"UPDATE virtual_keys SET {_assignments(fields)}, changed_at = clock_timestamp() "  # noqa: S608
                "WHERE user_id = $1",
                user_id,
                *fields.values(),
            )
            await note(connection, actor, "user.change_keys", f"user:{user_id}", _told(fields))
        await self._announce(f"user:{user_id}")
        return int(status.rpartition(" ")[2])

    async def reset_limits(self, actor: str, key_id: str) -> None:
        """Let a key begin the current minute anew; what it spent stays spent.

        Raises:
            NotFound: there is no such key.
            Unavailable: Redis does not answer.
        """
        await self.get(key_id)
        subject = f"key:{key_id}"
        try:
            counted = [
                key
                async for key in self._redis.scan_iter(
                    match=f"{redis_keys.rate(subject)}:model:*", count=1000
                )
            ]
            await self._redis.delete(redis_keys.rate(subject), *counted)
        except redis.ERRORS as error:
            raise errors.Unavailable("limits cannot be reached at the moment", retry_after_s=1) from error
        async with self._transaction() as connection:
            await note(connection, actor, "key.reset_limits", subject, {})
        await self._announce(subject)

    async def put_user(self, actor: str, user_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make or change a user."""
        return await self._put(actor, "user", user_id, fields)

    async def put_organization(
        self, actor: str, organization_id: str, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make or change an organization."""
        return await self._put(actor, "organization", organization_id, fields)

    async def _put(self, actor: str, scope: str, ident: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        table, column, subject = f"{scope}s", f"{scope}_id", f"{scope}:{ident}"
        async with self._transaction() as connection:
            await _make_owners(connection, {**fields, column: ident})
            assignments = f"{_assignments(fields)}, " if fields else ""
            row = await connection.fetchrow(
                f"UPDATE {table} SET {assignments}changed_at = clock_timestamp() "  # noqa: S608
                f"WHERE {column} = $1 RETURNING *",
                ident,
                *fields.values(),
            )
            await note(connection, actor, f"{scope}.put", subject, _told(fields))
        await self._announce(subject)
        return _found(row, ident)

    async def get_user(self, user_id: str) -> dict[str, Any]:
        """One user.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._connection() as connection:
            return _found(
                await connection.fetchrow("SELECT * FROM users WHERE user_id = $1", user_id), user_id
            )

    async def get_organization(self, organization_id: str) -> dict[str, Any]:
        """One organization.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._connection() as connection:
            row = await connection.fetchrow(
                "SELECT * FROM organizations WHERE organization_id = $1", organization_id
            )
        return _found(row, organization_id)

    async def audit(self, subject: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest audit events, of one subject or of all."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                "SELECT * FROM audit_events WHERE $1::text IS NULL OR subject = $1 ORDER BY event_id DESC LIMIT $2",
                subject,
                limit,
            )
        return [dict(row) for row in rows]

    async def export(self, actor: str, user_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Everything that is kept about a user: the table's name and a row, row by row."""
        async with self._transaction() as connection:
            await note(connection, actor, "user.export", f"user:{user_id}", {})
        for table, belongs in KEPT.items():
            last = ""
            while True:
                async with self._connection() as connection:
                    rows = await connection.fetch(
                        f"SELECT *, tableoid || '.' || ctid AS place FROM {table} "  # noqa: S608
                        f"WHERE {belongs} AND tableoid || '.' || ctid > $2 ORDER BY place LIMIT $3",
                        user_id,
                        last,
                        BATCH,
                        timeout=SLOW_S,
                    )
                for row in rows:
                    last = row["place"]
                    yield table, {name: value for name, value in row.items() if name != "place"}
                if len(rows) < BATCH:
                    break

    async def erase(self, actor: str, user_id: str) -> str:
        """Forget a user: keys and limits go, usage stays under a name that leads nowhere; that name.

        Events on their way, or in a spool, find the name when they arrive (`Journal.book`).

        Raises:
            Unavailable: PostgreSQL or Redis does not answer; ask again, for much may be done already.
        """
        stranger = f"erased-{secrets.token_hex(8)}"
        async with self._transaction() as connection:
            await connection.execute(
                "INSERT INTO erasures (user_id, stranger) VALUES ($1, $2) ON CONFLICT (user_id) "
                "DO UPDATE SET stranger = excluded.stranger, erased_at = excluded.erased_at",
                user_id,
                stranger,
            )
            # Whatever event of his could not be booked.
            await connection.execute(
                "DELETE FROM poison_events WHERE position($1::bytea IN event) > 0",
                chat_pb2.RequestContext(user_id=user_id).SerializeToString(),
            )
            await connection.execute("DELETE FROM virtual_keys WHERE user_id = $1", user_id)
            await connection.execute("DELETE FROM users WHERE user_id = $1", user_id)
            await connection.execute(
                "UPDATE audit_events SET subject = $2, detail = '{}' WHERE subject = $1",
                f"user:{user_id}",
                f"user:{stranger}",
            )
            await connection.execute(
                "UPDATE audit_events SET detail = detail - 'user_id' WHERE detail ->> 'user_id' = $1", user_id
            )
            await connection.execute(
                "UPDATE budget_spend SET subject = $2, version = version + 1 WHERE subject = $1",
                f"user:{user_id}",
                f"user:{stranger}",
            )
            await note(connection, actor, "user.erase", f"user:{stranger}", {})
            await _tell(connection, f"user:{user_id}")
        await self._announce(f"user:{user_id}", "revoked")
        await self._forget_spending(f"user:{user_id}")
        for table, more in (
            ("usage_records", ", tenant = '', labels = '{}'"),
            ("usage_metrics", ""),
            # Features may hint at what was asked.
            ("task_classifications", ", features = NULL"),
            ("feedback", ""),
            ("model_selections", ""),
        ):
            while True:
                async with self._connection() as connection:
                    status = await connection.execute(
                        f"UPDATE {table} SET user_id = $2{more} WHERE (tableoid, ctid) IN "  # noqa: S608
                        f"(SELECT tableoid, ctid FROM {table} WHERE user_id = $1 LIMIT $3)",
                        user_id,
                        stranger,
                        BATCH,
                        timeout=SLOW_S,
                    )
                if int(status.rpartition(" ")[2]) < BATCH:
                    break
        return stranger

    async def _forget_spending(self, subject: str) -> None:
        """Let Redis ask PostgreSQL anew, should the name be used again; what is in flight stays in balance."""
        try:
            async for key in self._redis.scan_iter(match=f"{redis_keys.spent(subject, '')}*", count=1000):
                await self._redis.hdel(key, "ledger", "version")
                await self._redis.expire(key, FORGOTTEN_S)
        except redis.ERRORS as error:
            raise errors.Unavailable("budgets cannot be reached at the moment", retry_after_s=1) from error

    def _check_plan(self, fields: Mapping[str, Any]) -> None:
        plans = self._keys.plans.by_name
        if "plan" in fields and fields["plan"] not in plans:
            raise errors.Invalid(
                f"plan: there is no plan {fields['plan']!r}; known: {', '.join(sorted(plans))}", param="plan"
            )

    async def _announce(self, subject: str, action: str = "changed") -> None:
        """Tell the other gateways at once; should Redis be away, they read the table half a second later."""
        try:
            await self._redis.xadd(
                redis_keys.KEY_CHANGES,
                {"subject": subject, "action": action},
                maxlen=redis_keys.KEY_CHANGES_LENGTH,
                approximate=True,
            )
        except redis.ERRORS as error:
            log.warning("a change of keys was not announced: %s", type(error).__name__)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[postgres.Connection]:
        try:
            async with postgres.connection(self._pool) as connection:
                yield connection
        except (*postgres.ERRORS, *postgres.CONFLICTS) as error:
            raise errors.Unavailable(
                "the database cannot be asked at the moment", reason="KEY_STORE_UNAVAILABLE", retry_after_s=1
            ) from error
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise errors.Invalid(
                "a value cannot be stored: a text holds a NUL, or a number is too large"
            ) from error

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[postgres.Connection]:
        async with self._connection() as connection, connection.transaction():
            yield connection


async def _make_owners(connection: postgres.Connection, fields: Mapping[str, Any]) -> None:
    """A key's user and organization come into being with it."""
    if organization := fields.get("organization_id"):
        await connection.execute(
            "INSERT INTO organizations (organization_id) VALUES ($1) ON CONFLICT DO NOTHING", organization
        )
    if user := fields.get("user_id"):
        await connection.execute("INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user)


async def note(
    connection: postgres.Connection, actor: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Write the audit trail, and the change for the caches."""
    await connection.execute(
        "INSERT INTO audit_events (actor, action, subject, detail) VALUES ($1, $2, $3, $4)",
        actor,
        action,
        subject,
        dict(detail),
    )
    await _tell(connection, subject)


async def _tell(connection: postgres.Connection, subject: str) -> None:
    await connection.execute("INSERT INTO key_changes (subject) VALUES ($1)", subject)
    await connection.execute(
        "DELETE FROM key_changes WHERE changed_at < now() - make_interval(secs => $1)", CHANGES_KEPT_S
    )


def _assignments(fields: Mapping[str, Any]) -> str:
    """`column = $2, ...` for columns that are names of ours."""
    unknown = set(fields) - set(KEY_FIELDS)
    assert not unknown, unknown
    return ", ".join(f"{name} = ${i}" for i, name in enumerate(fields, 2))


def _without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as the audit trail keeps them."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
        if name != "metadata"
    }


def _found(row: asyncpg.Record | None, ident: str) -> dict[str, Any]:
    if row is None:
        raise errors.NotFound(f"there is no {ident[:64]!r}")
    return dict(row)
