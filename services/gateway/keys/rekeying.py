"""A new LUMNI_KEY_SECRET: each key moves to it when it is next used; so do keys that another system kept as SHA-256.

Not before, for only who holds a key has what its digest is made of.
"""

import logging
from typing import Any

import asyncpg

from services.gateway import postgres

log = logging.getLogger(__name__)

# Keys that still need an earlier secret, of which so many are named.
NAMED = 100

REKEY = """
UPDATE key_secrets SET digest = $2, digest_of = 'key', keyed_by = $3 WHERE digest = $1 AND NOT EXISTS
(SELECT FROM key_secrets WHERE digest = $2)
"""
# Of those that may still be used. Digests without a fingerprint are older than the first change of the secret.
COUNT = """
SELECT count(*) AS keys, count(*) FILTER (WHERE s.keyed_by IS DISTINCT FROM $1) AS waiting
FROM key_secrets s JOIN virtual_keys k USING (key_id)
WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
AND (s.valid_until IS NULL OR s.valid_until > now())
"""
NAME = """
SELECT DISTINCT k.key_id
FROM key_secrets s JOIN virtual_keys k USING (key_id)
WHERE s.keyed_by IS DISTINCT FROM $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
AND (s.valid_until IS NULL OR s.valid_until > now())
ORDER BY k.key_id LIMIT $2
"""


async def rekey(connection: postgres.Connection, old: bytes, new: bytes, keyed_by: str) -> None:
    """Store a key as a new one is stored, as it was found under an earlier secret or as another system kept it.

    Where it cannot be stored, or another process was quicker, the key is good all the same.
    """
    try:
        await connection.execute(REKEY, old, new, keyed_by)
    except asyncpg.UniqueViolationError:
        return
    except asyncpg.PostgresError as error:
        log.warning("a key stays as it was stored before for now: %s", error)


async def progress(connection: postgres.Connection, keyed_by: str) -> dict[str, Any]:
    """How many keys there are, and which were not used since the secret changed."""
    counted = await connection.fetch(COUNT, keyed_by)
    named = await connection.fetch(NAME, keyed_by, NAMED)
    return {**dict(counted[0]), "waiting_key_ids": [one["key_id"] for one in named]}
