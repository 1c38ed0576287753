"""Experiments in PostgreSQL: what admins change, and what guardrails stop, each in the audit trail."""

import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from services.chassis.errors import Conflict, Invalid, NotFound
from services.gateway import postgres
from services.gateway.experiments import definition, rollout
from services.gateway.experiments.definition import Definition
from services.gateway.experiments.rollout import Progress
from services.gateway.keys import audit
from services.gateway.keys.database import KeyDatabase
from services.gateway.prompts.reference import Reference

ID_PREFIX = "ex-"
# Bytes: what blake2b takes as a key.
SALT = 16
# What a change begins from, and what it leads to.
CHANGES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "start": (("draft",), "running"),
    "stop": (("running",), "stopped"),
    "promote": (("running", "stopped"), "promoted"),
    "roll_back": (("promoted",), "stopped"),
}
COLUMNS = (
    "experiment_id, name, definition, state, stopped, promoted, rollout, created_at, started_at, ended_at"
)
FIND = f"SELECT {COLUMNS} FROM experiments WHERE experiment_id = $1 OR name = $1"  # noqa: S608
LIST = f"""
SELECT {COLUMNS} FROM experiments WHERE experiment_id > $1 AND ($2::text IS NULL OR state = $2)
ORDER BY experiment_id LIMIT $3
"""  # noqa: S608
CREATE = f"""
INSERT INTO experiments (experiment_id, name, definition, salt, prompt_id) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO NOTHING RETURNING {COLUMNS}
"""  # noqa: S608
CHANGE = f"""
UPDATE experiments SET state = $2, promoted = $3, stopped = $4,
    started_at = CASE WHEN $2 = 'running' THEN coalesce(started_at, clock_timestamp()) ELSE started_at END,
    ended_at = CASE WHEN $2 = 'running' THEN NULL ELSE clock_timestamp() END,
    rollout = coalesce($5, rollout)
WHERE experiment_id = $1 RETURNING {COLUMNS}
"""  # noqa: S608
MOVE = f"UPDATE experiments SET rollout = $2 WHERE experiment_id = $1 RETURNING {COLUMNS}"  # noqa: S608
DELETE = "DELETE FROM experiments WHERE experiment_id = $1"
PROMPT = """
SELECT prompt_id, labels, newest FROM prompts
WHERE name = $1 AND kind = 'prompt' AND (organization_id IS NULL OR organization_id = $2)
ORDER BY organization_id IS NULL LIMIT 1
"""


class ExperimentStore:
    """What admins do with experiments; one is named by its id or its name."""

    def __init__(self, database: KeyDatabase) -> None:
        self._database = database

    async def create(self, actor: str, described: Definition) -> dict[str, Any]:
        """Make an experiment, which no request takes part in yet.

        Raises:
            Invalid: a variant names a version of a prompt that is not there.
            Conflict: there is one of this name.
        """
        ident = ID_PREFIX + uuid.uuid4().hex
        async with self._database.transaction() as connection:
            prompt_id = await _prompt_id(connection, described)
            salt = secrets.token_bytes(SALT)
            row = await connection.fetchrow(CREATE, ident, described.name, described.given, salt, prompt_id)
            if row is None:
                raise Conflict(
                    f"name: there is an experiment {described.name!r}; choose another name",
                    reason="EXPERIMENT_EXISTS",
                    param="name",
                )
            await _record(connection, actor, "create", row, {"definition": described.given})
        return dict(row)

    async def find(self, *, after: str, limit: int, state: str | None = None) -> list[dict[str, Any]]:
        """Experiments by their ids."""
        async with self._database.connection() as connection:
            return [dict(row) for row in await connection.fetch(LIST, after, state, limit)]

    async def get(self, ident: str) -> dict[str, Any]:
        """One experiment.

        Raises:
            NotFound: there is none.
        """
        async with self._database.connection() as connection:
            return dict(await _found(connection, ident))

    async def change(self, actor: str, ident: str, action: str, variant: str = "") -> dict[str, Any]:
        """Start, stop, promote or roll back.

        Args:
            actor: Who does it.
            ident: The experiment.
            action: One of `CHANGES`.
            variant: The variant to promote.

        Raises:
            NotFound: there is no such experiment or variant.
            Conflict: it is in no state for that.
        """
        before, after = CHANGES[action]
        async with self._database.transaction() as connection:
            row = await _found(connection, ident, lock=True)
            if row["state"] not in before:
                raise Conflict(
                    f"the experiment {row['name']} is {row['state']}; {action.replace('_', ' ')} needs one that is "
                    f"{' or '.join(before)}",
                    reason="EXPERIMENT_STATE",
                )
            if action == "promote":
                _check_variant(row, variant)
            stopped, steps = row["stopped"], definition.parse(row["definition"]).rollout
            begun = rollout.begun(steps, time.time()).kept if steps and action == "start" else None
            changed = await connection.fetchrow(CHANGE, row["experiment_id"], after, variant, stopped, begun)
            assert changed is not None
            detail = {"from": row["state"], "to": after, "variant": variant or row["promoted"] or None}
            await _record(connection, actor, action, row, detail)
        return dict(changed)

    async def stop_variant(self, actor: str, ident: str, variant: str, reason: str) -> dict[str, Any]:
        """Stop a variant: from now on its requests are as if there was no experiment, which ends with its last one.

        Raises:
            NotFound: there is no such experiment or variant.
            Invalid: it is the control.
            Conflict: the experiment is not running.
        """
        async with self._database.transaction() as connection:
            row = await _found(connection, ident, lock=True)
            _check_variant(row, variant)
            control, *others = definition.parse(row["definition"]).names
            if variant == control:
                raise Invalid("variant: the control cannot be stopped; stop the experiment", param="variant")
            if row["state"] != "running":
                raise Conflict(
                    f"the experiment {row['name']} is {row['state']}, not running", reason="EXPERIMENT_STATE"
                )
            if variant in row["stopped"]:
                return dict(row)
            stopped = {**row["stopped"], variant: reason}
            state = "stopped" if stopped.keys() >= set(others) else "running"
            changed = await connection.fetchrow(CHANGE, row["experiment_id"], state, "", stopped, None)
            assert changed is not None
            detail = {"variant": variant, "reason": reason, "to": state}
            await _record(connection, actor, "stop_variant", row, detail)
        return dict(changed)

    async def set_share(self, actor: str, ident: str, share: int) -> dict[str, Any]:
        """Give a rollout's variant another share, in %.

        Raises:
            NotFound: there is no such experiment.
            Conflict: it is no rollout, or not running.
        """
        async with self._database.transaction() as connection:
            row = await _found(connection, ident, lock=True)
            progress = rollout.moved(_progress(row), share, time.time())
            return await _move(connection, actor, "set_share", row, progress)

    async def go_on(self, actor: str, ident: str, seen: Progress, share: int) -> dict[str, Any]:
        """Take a rollout to its next share, unless it was moved since it was `seen`.

        Raises:
            NotFound, Conflict: as `set_share`.
        """
        return await self._step(actor, "set_share", ident, seen, rollout.moved(seen, share, time.time()))

    async def fall_back(self, actor: str, ident: str, seen: Progress, reason: str) -> dict[str, Any]:
        """Take a rollout back to its last good share, unless it was moved since it was `seen`.

        Raises:
            NotFound, Conflict: as `set_share`.
        """
        return await self._step(actor, "fall_back", ident, seen, rollout.fallen(seen, reason, time.time()))

    async def _step(
        self, actor: str, action: str, ident: str, seen: Progress, progress: Progress
    ) -> dict[str, Any]:
        async with self._database.transaction() as connection:
            row = await _found(connection, ident, lock=True)
            if _progress(row) != seen:
                return dict(row)
            return await _move(connection, actor, action, row, progress)

    async def delete(self, actor: str, ident: str) -> None:
        """Forget an experiment; its requests stay in the ledger.

        Raises:
            NotFound: there is none.
            Conflict: requests take part in it.
        """
        async with self._database.transaction() as connection:
            row = await _found(connection, ident, lock=True)
            if row["state"] not in ("draft", "stopped"):
                raise Conflict(
                    f"the experiment {row['name']} is {row['state']}; stop it, or roll it back, first",
                    reason="EXPERIMENT_STATE",
                )
            await connection.execute(DELETE, row["experiment_id"])
            await _record(connection, actor, "delete", row, {})


async def _found(connection: postgres.Connection, ident: str, *, lock: bool = False) -> asyncpg.Record:
    row = await connection.fetchrow(f"{FIND} FOR UPDATE" if lock else FIND, ident)
    if row is None:
        raise NotFound(f"there is no experiment {ident[:128]!r}", reason="EXPERIMENT_NOT_FOUND")
    return row


def _progress(row: asyncpg.Record) -> Progress:
    if row["state"] != "running" or row["rollout"] is None:
        raise Conflict(
            f"the experiment {row['name']} is {row['state']}; a share needs a rollout that is running",
            reason="EXPERIMENT_STATE",
        )
    return rollout.read(row["rollout"])


async def _move(
    connection: postgres.Connection, actor: str, action: str, row: asyncpg.Record, progress: Progress
) -> dict[str, Any]:
    moved = await connection.fetchrow(MOVE, row["experiment_id"], progress.kept)
    assert moved is not None
    detail = {"from": row["rollout"]["share"], "to": progress.share, "reason": progress.held or None}
    await _record(connection, actor, action, row, detail)
    return dict(moved)


def _check_variant(row: asyncpg.Record, variant: str) -> None:
    names: Sequence[str] = definition.parse(row["definition"]).names
    if variant not in names:
        raise NotFound(
            f"variant: there is no {variant[:64]!r}; known: {', '.join(names)}",
            reason="EXPERIMENT_NOT_FOUND",
            param="variant",
        )


async def _prompt_id(connection: postgres.Connection, described: Definition) -> str:
    """The prompt that an experiment is about, which has all versions of its variants; empty where it is about none."""
    if not described.prompt:
        return ""
    prompt = await connection.fetchrow(PROMPT, described.prompt, described.organization_id)
    if prompt is None:
        raise Invalid(f"prompt: there is no prompt {described.prompt!r} for these callers", param="prompt")
    labels = {label: versions[0] for label, versions in prompt["labels"].items()}
    for i, one in enumerate(described.variants):
        place = f"variants[{i}].prompt_version"
        try:
            Reference(described.prompt, one.prompt_version).version(labels, prompt["newest"])
        except NotFound as error:
            raise Invalid(f"{place}: {error.message}", param=place) from error
    return str(prompt["prompt_id"])


async def _record(
    connection: postgres.Connection,
    actor: str,
    action: str,
    row: asyncpg.Record,
    detail: Mapping[str, Any],
) -> None:
    subject = f"experiment:{row['experiment_id']}"
    await audit.append(connection, actor, f"experiment.{action}", subject, {"name": row["name"], **detail})
