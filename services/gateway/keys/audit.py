"""The audit trail: who changed what, and when; never a secret."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.gateway import postgres
from services.gateway.keys.database import KeyDatabase

APPEND = "INSERT INTO audit_events (actor, action, subject, detail) VALUES ($1, $2, $3, $4)"
NEWEST = "SELECT * FROM audit_events WHERE $1::text IS NULL OR subject = $1 ORDER BY event_id DESC LIMIT $2"


async def append(
    connection: postgres.Connection, actor: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Append an event in the transaction of what it is about; metadata is left out."""
    shown = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in detail.items()
        if name != "metadata"
    }
    await connection.execute(APPEND, actor, action, subject, shown)


class AuditTrail:
    """Reads the trail, and records what changes nothing in PostgreSQL."""

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database

    async def newest(self, subject: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest events, of one subject or of all.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        async with self._database.connection() as connection:
            return [dict(row) for row in await connection.fetch(NEWEST, subject, limit)]

    async def record(self, actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Append an event about something that was done elsewhere.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        async with self._database.transaction() as connection:
            await append(connection, actor, action, subject, detail)
