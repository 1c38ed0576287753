"""Users and organizations: whose limits and budgets all their keys count for."""

from collections.abc import Mapping
from typing import Any

from services.gateway import postgres
from services.gateway.keys import audit
from services.gateway.keys.columns import assignments
from services.gateway.keys.database import KeyDatabase, found

MAKE_USERS = "INSERT INTO users (user_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
MAKE_ORGANIZATION = "INSERT INTO organizations (organization_id) VALUES ($1) ON CONFLICT DO NOTHING"

COLUMNS = "rpm_limit, tpm_limit, parallel_limit, budget_nano_usd, budget_period"
IMPORT_USER = f"""
INSERT INTO users (user_id, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING user_id
"""  # noqa: S608  (columns of ours)
IMPORT_ORGANIZATION = f"""
INSERT INTO organizations (organization_id, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING organization_id
"""  # noqa: S608  (as above)


async def make(connection: postgres.Connection, fields: Mapping[str, Any]) -> None:
    """Make the user and the organization that fields name, where there are none yet."""
    if organization := fields.get("organization_id"):
        await connection.execute(MAKE_ORGANIZATION, organization)
    if user := fields.get("user_id"):
        await make_users(connection, [user])


async def make_users(connection: postgres.Connection, user_ids: list[str]) -> None:
    """Make users, where there are none yet."""
    await connection.execute(MAKE_USERS, user_ids)


async def make_organizations(connection: postgres.Connection, organization_ids: list[str]) -> None:
    """Make organizations, where there are none yet."""
    await connection.executemany(MAKE_ORGANIZATION, [(one,) for one in organization_ids])


async def import_owner(
    connection: postgres.Connection, actor: str, subject: str, limits: Mapping[str, Any], source: str
) -> bool:
    """Take over `user:ID` or `organization:ID` with its limits, unless it is there already; whether it was not."""
    kind, _, ident = subject.partition(":")
    statement = IMPORT_USER if kind == "user" else IMPORT_ORGANIZATION
    made = await connection.fetchval(statement, ident, *(limits[name] for name in COLUMNS.split(", ")))
    if made:
        await audit.append(connection, actor, f"{kind}.import", subject, {**limits, "source": source})
    return bool(made)


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
