"""What is kept about a user: all of it exported, or erased.

Erasing changes rows of other modules' tables (docs/money.md): those that stay get a pseudonym.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from lumni.chat.v1 import chat_pb2

from services.gateway import postgres
from services.gateway.keys import audit, counters
from services.gateway.keys.database import KeyDatabase

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
    "learning_choices": OWN,
    "judgements": OWN,
    # As they are kept: encrypted.
    "responses": OWN,
    "request_texts": OWN,
    "audit_events": f"({ABOUT} OR detail ->> 'user_id' = $1::text)",
}
# The tables whose rows stay under the pseudonym, and what else of a row goes.
RENAMED: Mapping[str, str] = {
    "usage_records": ", tenant = '', metadata = '{}', experiment_unit = NULL",
    "usage_metrics": "",
    # Features may hint at what the request was.
    "task_classifications": ", features = NULL",
    "feedback": ", metadata = '{}'",
    "learning_choices": ", turn = NULL, previous_turn = NULL",
    "judgements": "",
    # What the classifier saw in it may hint at that, too; what was asked for has what the tenant used of late, and the
    # models that it may use.
    "model_selections": ", reasons = NULL, asked = NULL, experiment_unit = NULL",
}
# The tables whose rows go, and may be many.
DELETED = ("request_texts",)
# Held by an erasure until it is committed, and shared by who looks once more whom was erased before it commits itself.
LOCK = 0x6C756D6E_65726173  # "lumneras"
# Rows that one statement erases or exports, and how long it may take, in seconds.
BATCH = 5000
SLOW_S = 60.0


class PersonalData:
    """Everything about one user, in all tables."""

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database

    async def export(self, actor: str, user_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Everything that is kept about a user: the table's name and a row, row by row.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        async with self._database.transaction() as connection:
            await audit.append(connection, actor, "user.export", f"user:{user_id}", {})
        for table, belongs in KEPT.items():
            last = ""
            while True:
                async with self._database.connection() as connection:
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
        """Forget a user: keys and limits go, usage stays under a pseudonym that leads nowhere; the pseudonym.

        Events on their way, or in a spool, get the pseudonym when they arrive (`LedgerStore.write`).

        Raises:
            Unavailable: PostgreSQL or Redis does not answer; ask again, for much may be done already.
        """
        pseudonym = f"erased-{secrets.token_hex(8)}"
        async with self._database.change(f"user:{user_id}", revoked=True) as connection:
            await _forget(connection, user_id, pseudonym)
            await audit.append(connection, actor, "user.erase", f"user:{pseudonym}", {})
        await counters.forget_spending(self._database.redis, f"user:{user_id}")
        for table in DELETED:
            while await self._delete(table, user_id) == BATCH:
                pass
        for table in RENAMED:
            while await self._rename(table, user_id, pseudonym) == BATCH:
                pass
        return pseudonym

    async def _delete(self, table: str, user_id: str) -> int:
        async with self._database.connection() as connection:
            status = await connection.execute(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608
                f"SELECT ctid FROM {table} WHERE user_id = $1 LIMIT $2))",
                user_id,
                BATCH,
                timeout=SLOW_S,
            )
        return int(status.rpartition(" ")[2])

    async def _rename(self, table: str, user_id: str, pseudonym: str) -> int:
        async with self._database.connection() as connection:
            status = await connection.execute(
                f"UPDATE {table} SET user_id = $2{RENAMED[table]} WHERE (tableoid, ctid) IN "  # noqa: S608
                f"(SELECT tableoid, ctid FROM {table} WHERE user_id = $1 LIMIT $3)",
                user_id,
                pseudonym,
                BATCH,
                timeout=SLOW_S,
            )
        return int(status.rpartition(" ")[2])


async def _forget(connection: postgres.Connection, user_id: str, pseudonym: str) -> None:
    """What one transaction can do: everything but the rows that may be many."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    await connection.execute(
        "INSERT INTO erasures (user_id, stranger) VALUES ($1, $2) ON CONFLICT (user_id) "
        "DO UPDATE SET stranger = excluded.stranger, erased_at = excluded.erased_at",
        user_id,
        pseudonym,
    )
    # Events of the user that could not be written.
    await connection.execute(
        "DELETE FROM poison_events WHERE position($1::bytea IN event) > 0",
        chat_pb2.RequestContext(user_id=user_id).SerializeToString(),
    )
    await connection.execute("DELETE FROM virtual_keys WHERE user_id = $1", user_id)
    await connection.execute("DELETE FROM users WHERE user_id = $1", user_id)
    await connection.execute("DELETE FROM responses WHERE user_id = $1", user_id)
    was, becomes = f"user:{user_id}", f"user:{pseudonym}"
    await connection.execute(
        "UPDATE audit_events SET subject = $2, detail = '{}' WHERE subject = $1", was, becomes
    )
    await connection.execute(
        "UPDATE audit_events SET detail = detail - 'user_id' WHERE detail ->> 'user_id' = $1", user_id
    )
    await connection.execute(
        "UPDATE budget_spend SET subject = $2, version = version + 1 WHERE subject = $1", was, becomes
    )
