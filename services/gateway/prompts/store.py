"""Prompts in PostgreSQL: versions that never change, labels that move, and each change in the audit trail.

A change names the revision that its author has seen. Where somebody else was quicker it is refused, so that of two
admins who edit at once neither undoes what the other did without having read it.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from services.chassis.errors import Conflict, Invalid, NotFound
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.keys import audit
from services.gateway.keys.database import KeyDatabase
from services.gateway.prompts import reference
from services.gateway.prompts.content import Content, Kind
from services.gateway.prompts.reference import ID_PREFIX, PRODUCTION
from services.gateway.prompts.system_prompts import Configured

MOST_LABELS = 32
# How many versions a label can be taken back to.
MOST_PREVIOUS = 20
# How many of the prompts that name a partial a refusal shows.
MOST_SHOWN = 10

FIND = """
SELECT * FROM prompts WHERE prompt_id = $1 OR (name = $1 AND organization_id IS NOT DISTINCT FROM $2)
"""
LIST = """
SELECT * FROM prompts
WHERE (organization_id IS NOT DISTINCT FROM $1 OR $2) AND prompt_id > $3
ORDER BY prompt_id LIMIT $4
"""
VERSION = "SELECT * FROM prompt_versions WHERE prompt_id = $1 AND version = $2"
# Without what they say.
VERSIONS = """
SELECT version, note, created_by, created_at FROM prompt_versions WHERE prompt_id = $1 AND version < $2
ORDER BY version DESC LIMIT $3
"""
CREATE = """
INSERT INTO prompts (prompt_id, organization_id, name, kind, labels) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (organization_id, name) DO NOTHING RETURNING *
"""
ADD = (
    "INSERT INTO prompt_versions (prompt_id, version, content, note, created_by) VALUES ($1, $2, $3, $4, $5)"
)
CHANGE = """
UPDATE prompts SET revision = revision + 1, newest = $2, labels = $3, changed_at = clock_timestamp()
WHERE prompt_id = $1 RETURNING *
"""
# Whose versions name a partial, by its name or its id. An organization's own partial goes before everybody's.
NAMED_BY = r"""
SELECT DISTINCT user_of.name FROM prompt_versions version JOIN prompts user_of USING (prompt_id)
WHERE user_of.prompt_id <> $1 AND ($3::text IS NULL OR user_of.organization_id = $3)
  AND (
    version.content::text ~ ('\{\{(\s|\\[nrt])*>(\s|\\[nrt])*' || $1 || '[\s@\\}]')
    OR version.content::text ~ ('\{\{(\s|\\[nrt])*>(\s|\\[nrt])*' || replace($2, '.', '\.') || '[\s@\\}]')
    AND NOT EXISTS (
      SELECT 1 FROM prompts own WHERE own.name = $2 AND own.kind = 'partial' AND own.prompt_id <> $1
        AND own.organization_id = user_of.organization_id
    )
  )
ORDER BY user_of.name LIMIT $4
"""
DELETE = "DELETE FROM prompts WHERE prompt_id = $1"


class PromptStore:
    """What admins do with prompts; a prompt is named by its id, or by its name and its organization.

    Args:
        database: Where they are.
        rules: The operator's system prompts, which may name versions; None where there are none.

    """

    def __init__(self, database: KeyDatabase, rules: Live[Configured] | None = None) -> None:
        self._database = database
        self._rules = rules

    async def create(
        self,
        actor: str,
        *,
        name: str,
        kind: Kind,
        content: Content,
        organization_id: str | None = None,
        note: str = "",
    ) -> dict[str, Any]:
        """Make a prompt; its first version is in production.

        Raises:
            Invalid: the name cannot be one, or there is no such organization.
            Conflict: there is one of this name.
        """
        reference.check_name(name)
        ident = ID_PREFIX + uuid.uuid4().hex
        async with self._database.transaction() as connection:
            if organization_id is not None and not await connection.fetchval(
                "SELECT true FROM organizations WHERE organization_id = $1", organization_id
            ):
                raise Invalid(
                    f"organization_id: there is no organization {organization_id[:64]!r}",
                    param="organization_id",
                )
            row = await connection.fetchrow(CREATE, ident, organization_id, name, kind, {PRODUCTION: [1]})
            if row is None:
                raise Conflict(
                    f"name: there is a prompt {name!r}; add a version to it, or choose another name",
                    reason="PROMPT_EXISTS",
                    param="name",
                )
            await connection.execute(ADD, ident, 1, content.given, note, actor)
            await _record(connection, actor, "prompt.create", row, {"version": 1, "note": note})
        return shown(row)

    async def find(
        self, *, organization_id: str | None, everywhere: bool, after: str, limit: int
    ) -> list[dict[str, Any]]:
        """Prompts by their ids: those of an organization, those of nobody, or `everywhere`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(LIST, organization_id, everywhere, after, limit)
        return [shown(row) for row in rows]

    async def get(self, ident: str, organization_id: str | None = None) -> dict[str, Any]:
        """One prompt.

        Raises:
            NotFound: there is none.
        """
        async with self._database.connection() as connection:
            return shown(await _found(connection, ident, organization_id))

    async def version(self, prompt_id: str, version: int) -> dict[str, Any]:
        """One version, with its content.

        Raises:
            NotFound: there is none.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(VERSION, prompt_id, version)
        if row is None:
            raise NotFound(f"there is no version {version}", reason="PROMPT_NOT_FOUND", param="version")
        return dict(row)

    async def versions(self, prompt_id: str, before: int, limit: int) -> list[dict[str, Any]]:
        """The newest versions below a number, without their content."""
        async with self._database.connection() as connection:
            return [dict(row) for row in await connection.fetch(VERSIONS, prompt_id, before, limit)]

    async def add_version(
        self, actor: str, prompt_id: str, revision: int, content: Content, *, note: str = "", label: str = ""
    ) -> dict[str, Any]:
        """Add a version, which gets a label if one is given.

        Raises:
            NotFound: there is no such prompt.
            Conflict: it is not at that revision any more.
        """
        async with self._database.transaction() as connection:
            row = await _locked(connection, prompt_id, revision)
            version = row["newest"] + 1
            labels = _labelled(row["labels"], label, version) if label else row["labels"]
            await connection.execute(ADD, prompt_id, version, content.given, note, actor)
            changed = await connection.fetchrow(CHANGE, prompt_id, version, labels)
            detail = {"version": version, "note": note, "label": label or None}
            await _record(connection, actor, "prompt.version", row, detail)
        assert changed is not None
        return shown(changed)

    async def set_label(
        self, actor: str, prompt_id: str, revision: int, label: str, version: int
    ) -> dict[str, Any]:
        """Give a label to a version, and take it from the one that had it.

        Raises:
            Invalid: it cannot be a label, or there are too many.
            NotFound: there is no such prompt or version.
            Conflict: it is not at that revision any more.
        """
        async with self._database.transaction() as connection:
            row = await _locked(connection, prompt_id, revision)
            if not 0 < version <= row["newest"]:
                raise NotFound(
                    f"version: expected 1 to {row['newest']}", reason="PROMPT_NOT_FOUND", param="version"
                )
            labels = _labelled(row["labels"], label, version)
            return await _relabelled(connection, actor, row, labels, "prompt.label", label)

    async def remove_label(self, actor: str, prompt_id: str, revision: int, label: str) -> dict[str, Any]:
        """Forget a label.

        Raises:
            Invalid: it is `production`, which every prompt has.
            NotFound: there is no such prompt or label.
            Conflict: it is not at that revision any more, or a system prompt of the operator's names the label.
        """
        if label == PRODUCTION:
            raise Invalid(f"label: {PRODUCTION} can be moved and not removed", param="label")
        async with self._database.transaction() as connection:
            row = await _locked(connection, prompt_id, revision)
            _history(row["labels"], label)
            self._check_unruled(row, label)
            labels = {name: one for name, one in row["labels"].items() if name != label}
            return await _relabelled(connection, actor, row, labels, "prompt.unlabel", label)

    async def roll_back(self, actor: str, prompt_id: str, revision: int, label: str) -> dict[str, Any]:
        """Give a label back to the version that had it before.

        Raises:
            NotFound: there is no such prompt or label.
            Conflict: no version had it before, or it is not at that revision any more.
        """
        async with self._database.transaction() as connection:
            row = await _locked(connection, prompt_id, revision)
            _, *previous = _history(row["labels"], label)
            if not previous:
                raise Conflict(
                    f"label: no version had {label} before; give it to one by its number",
                    reason="NOTHING_TO_ROLL_BACK",
                    param="label",
                )
            labels = {**row["labels"], label: previous}
            return await _relabelled(connection, actor, row, labels, "prompt.roll_back", label)

    async def delete(self, actor: str, prompt_id: str, revision: int) -> None:
        """Forget a prompt with all its versions.

        Raises:
            NotFound: there is none.
            Conflict: it is not at that revision any more, a partial that others name, or what a system prompt of the
                operator's says.
        """
        async with self._database.transaction() as connection:
            row = await _locked(connection, prompt_id, revision)
            self._check_unruled(row)
            if row["kind"] == Kind.PARTIAL:
                await _check_unnamed(connection, row)
            await connection.execute(DELETE, prompt_id)
            await _record(connection, actor, "prompt.delete", row, {"newest": row["newest"]})

    def _check_unruled(self, row: asyncpg.Record, label: str = "") -> None:
        """Refuse to take away what a system prompt of the operator's says: no gateway would start without it."""
        if self._rules is None or row["kind"] != Kind.PROMPT:
            return
        for one in self._rules.current.naming(dict(row)).values():
            if label in ("", one.which):
                raise Conflict(
                    f"system_prompts of lumni.yaml names {one}; take it out there first",
                    reason="PROMPT_IN_USE",
                )


async def _check_unnamed(connection: postgres.Connection, partial: asyncpg.Record) -> None:
    named_by = await connection.fetch(
        NAMED_BY, partial["prompt_id"], partial["name"], partial["organization_id"], MOST_SHOWN
    )
    if named_by:
        names = ", ".join(row["name"] for row in named_by)
        raise Conflict(
            f"the partial {partial['name']} is named by versions of {names}; delete those prompts first",
            reason="PARTIAL_IN_USE",
        )


def shown(row: asyncpg.Record) -> dict[str, Any]:
    """A prompt as admins see it: of each label the version that has it."""
    return {**row, "labels": {label: versions[0] for label, versions in row["labels"].items()}}


async def _found(connection: postgres.Connection, ident: str, organization_id: str | None) -> asyncpg.Record:
    row = await connection.fetchrow(FIND, ident, organization_id)
    if row is None:
        raise NotFound(f"there is no prompt {ident[:128]!r}", reason="PROMPT_NOT_FOUND")
    return row


async def _locked(connection: postgres.Connection, prompt_id: str, revision: int) -> asyncpg.Record:
    """The row of a prompt that its author has seen as it is, which nobody else changes until the transaction ends."""
    row = await connection.fetchrow("SELECT * FROM prompts WHERE prompt_id = $1 FOR UPDATE", prompt_id)
    if row is None:
        raise NotFound(f"there is no prompt {prompt_id[:128]!r}", reason="PROMPT_NOT_FOUND")
    if row["revision"] != revision:
        raise Conflict(
            f"revision: the prompt was changed meanwhile and is at {row['revision']}, not {revision}; read it and "
            "decide again",
            reason="PROMPT_CHANGED",
            param="revision",
        )
    return row


async def _relabelled(
    connection: postgres.Connection,
    actor: str,
    row: asyncpg.Record,
    labels: Mapping[str, Any],
    action: str,
    label: str,
) -> dict[str, Any]:
    changed = await connection.fetchrow(CHANGE, row["prompt_id"], row["newest"], labels)
    assert changed is not None
    before, after = (one["labels"].get(label, [None])[0] for one in (row, changed))
    await _record(connection, actor, action, row, {"label": label, "from": before, "to": after})
    return shown(changed)


async def _record(
    connection: postgres.Connection,
    actor: str,
    action: str,
    row: asyncpg.Record,
    detail: Mapping[str, Any],
) -> None:
    about = {"name": row["name"], "organization_id": row["organization_id"], **detail}
    await audit.append(connection, actor, action, f"prompt:{row['prompt_id']}", about)


def _history(labels: Mapping[str, Sequence[int]], label: str) -> Sequence[int]:
    """The versions of a label, the one that has it first."""
    if label not in labels:
        known = ", ".join(sorted(labels))
        raise NotFound(
            f"label: no version has {label[:64]!r}; known: {known}", reason="PROMPT_NOT_FOUND", param="label"
        )
    return labels[label]


def _labelled(labels: Mapping[str, Sequence[int]], label: str, version: int) -> dict[str, Sequence[int]]:
    """The labels after one of them was given to a version."""
    reference.check_label(label)
    if label not in labels and len(labels) >= MOST_LABELS:
        raise Invalid(f"label: expected at most {MOST_LABELS} labels of a prompt", param="label")
    previous = [one for one in labels.get(label, ()) if one != version]
    return {**labels, label: [version, *previous[:MOST_PREVIOUS]]}
