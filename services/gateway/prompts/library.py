"""The versions that requests ask for, read from PostgreSQL and remembered for a second.

A label that is moved back counts for every request a second later. While PostgreSQL does not answer, what is known is
good for some minutes.
"""

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass

import asyncpg

from services.chassis.errors import Invalid, NotFound, Unavailable
from services.gateway import postgres
from services.gateway.keys.permissions import Caller
from services.gateway.prompts import content, reference
from services.gateway.prompts.content import Kind, Recipe
from services.gateway.prompts.reference import Reference
from services.gateway.prompts.template import MOST_NESTED

log = logging.getLogger(__name__)

REMEMBERED_S = 1.0
# How long what is known is good while PostgreSQL cannot be asked, in seconds.
STALE_S = 300.0
# Each is at most 256 KiB with 32 partials of at most 64 KiB.
REMEMBERED = 256
MOST_PARTIALS = 32

# A caller's organization goes before what everybody may use.
FIND = """
SELECT * FROM prompts
WHERE (name = $1 OR prompt_id = $1) AND kind = $2 AND (organization_id IS NULL OR organization_id = $3)
ORDER BY organization_id IS NULL LIMIT 1
"""
CONTENT = "SELECT content FROM prompt_versions WHERE prompt_id = $1 AND version = $2"


@dataclass(frozen=True, slots=True)
class _Known:
    recipe: Recipe
    # By time.monotonic().
    read_at: float


class PromptLibrary:
    """Finds what a caller may use: prompts of his organization, and those of nobody."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool
        self._known: OrderedDict[tuple[str, Reference], _Known] = OrderedDict()

    async def recipe(self, caller: Caller, wanted: Reference) -> Recipe:
        """The version of a prompt that a reference means to a caller.

        Raises:
            NotFound: there is none for him, or a partial of it is gone.
            Unavailable: PostgreSQL cannot say.
        """
        place = (caller.organization_id, wanted)
        known = self._known.get(place)
        if known is not None and time.monotonic() - known.read_at < REMEMBERED_S:
            return known.recipe
        try:
            async with postgres.connection(self._pool) as connection:
                recipe = await read(connection, caller.organization_id, wanted)
        except postgres.ERRORS as error:
            if known is not None and time.monotonic() - known.read_at < STALE_S:
                log.warning("a prompt is used as it was read before: %s", type(error).__name__)
                return known.recipe
            raise Unavailable("prompts cannot be read at the moment", retry_after_s=1) from error
        except NotFound:
            self._known.pop(place, None)
            raise
        self._known[place] = _Known(recipe, time.monotonic())
        self._known.move_to_end(place)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return recipe


async def read(connection: postgres.Connection, organization_id: str, wanted: Reference) -> Recipe:
    """The version of a prompt that a reference means to an organization, as it is now.

    Raises:
        NotFound: there is none for it, or a partial of it is gone.
        postgres.ERRORS: PostgreSQL does not answer.
    """
    row = await _row(connection, Kind.PROMPT, organization_id, wanted.prompt)
    version = _version(row, wanted)
    said = content.parse(await connection.fetchval(CONTENT, row["prompt_id"], version), Kind.PROMPT)
    partials = await _partials(connection, row["organization_id"] or "", said.partials)
    return Recipe(row["prompt_id"], row["name"], version, said, partials)


async def _partials(
    connection: postgres.Connection, organization_id: str, names: frozenset[str]
) -> dict[str, str]:
    """The texts of partials and of those that stand in them; a shared prompt takes none of an organization's."""
    texts: dict[str, str] = {}
    for _ in range(MOST_NESTED):
        needed: frozenset[str] = frozenset()
        for name in sorted(names - texts.keys()):
            if len(texts) == MOST_PARTIALS:
                raise Invalid(f"the prompt has more than {MOST_PARTIALS} partials", param="prompt")
            wanted = reference.parse(name)
            row = await _row(connection, Kind.PARTIAL, organization_id, wanted.prompt)
            given = await connection.fetchval(CONTENT, row["prompt_id"], _version(row, wanted))
            said = content.parse(given, Kind.PARTIAL)
            texts[name] = given["text"]
            needed |= said.partials
        names = needed
    return texts


async def _row(
    connection: postgres.Connection, kind: Kind, organization_id: str, name: str
) -> asyncpg.Record:
    row = await connection.fetchrow(FIND, name, kind, organization_id)
    if row is None:
        raise NotFound(
            f"there is no {kind} {name!r}, or it is another organization's",
            reason="PROMPT_NOT_FOUND",
            param="prompt",
        )
    return row


def _version(row: asyncpg.Record, wanted: Reference) -> int:
    return wanted.version({label: versions[0] for label, versions in row["labels"].items()}, row["newest"])
