"""Users and organizations: whose limits and budgets all their keys count for."""

from collections.abc import Mapping
from typing import Any

from services.gateway import postgres
from services.gateway.keys import audit
from services.gateway.keys.database import KeyDatabase, found
from services.gateway.keys.fields import assignments

MAKE_USERS = "INSERT INTO users (user_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
MAKE_ORGANIZATION = "INSERT INTO organizations (organization_id) VALUES ($1) ON CONFLICT DO NOTHING"


async def make(connection: postgres.Connection, fields: Mapping[str, Any]) -> None:
    """Make the user and the organization that fields name, where there are none yet."""
    if organization := fields.get("organization_id"):
        await connection.execute(MAKE_ORGANIZATION, organization)
    if user := fields.get("user_id"):
        await make_users(connection, [user])


async def make_users(connection: postgres.Connection, user_ids: list[str]) -> None:
    """Make users, where there are none yet."""
    await connection.execute(MAKE_USERS, user_ids)


class OwnerStore:
    """Users and organizations in PostgreSQL."""

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database

    async def get_user(self, user_id: str) -> dict[str, Any]:
        """One user.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM users WHERE user_id = $1", user_id)
        return found(row, user_id)

    async def get_organization(self, organization_id: str) -> dict[str, Any]:
        """One organization.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                "SELECT * FROM organizations WHERE organization_id = $1", organization_id
            )
        return found(row, organization_id)

    async def put_user(self, actor: str, user_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make or change a user."""
        async with self._database.change(f"user:{user_id}") as connection:
            await make(connection, {**fields, "user_id": user_id})
            row = await connection.fetchrow(
                f"UPDATE users SET {assignments(fields)}changed_at = clock_timestamp() "  # noqa: S608
                "WHERE user_id = $1 RETURNING *",
                user_id,
                *fields.values(),
            )
            await audit.append(connection, actor, "user.put", f"user:{user_id}", fields)
        return found(row, user_id)

    async def put_organization(
        self, actor: str, organization_id: str, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make or change an organization."""
        async with self._database.change(f"organization:{organization_id}") as connection:
            await make(connection, {"organization_id": organization_id})
            row = await connection.fetchrow(
                f"UPDATE organizations SET {assignments(fields)}changed_at = clock_timestamp() "  # noqa: S608
                "WHERE organization_id = $1 RETURNING *",
                organization_id,
                *fields.values(),
            )
            await audit.append(
                connection, actor, "organization.put", f"organization:{organization_id}", fields
            )
        return found(row, organization_id)
