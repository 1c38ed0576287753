"""How far keys have moved to a new LUMNI_KEY_SECRET (`store.rekey`): each does when it is next used."""

from typing import Any

from services.gateway import postgres

# Keys that still need an earlier secret, of which so many are named.
NAMED = 100

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


async def progress(connection: postgres.Connection, keyed_by: str) -> dict[str, Any]:
    """How many keys there are, and which were not used since the secret changed."""
    counted = await connection.fetch(COUNT, keyed_by)
    named = await connection.fetch(NAME, keyed_by, NAMED)
    return {**dict(counted[0]), "waiting_key_ids": [one["key_id"] for one in named]}
