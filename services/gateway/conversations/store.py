"""The responses that are kept: written, read, deleted, each only by the tenant and user that it was made for."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.chassis import errors
from services.gateway import postgres
from services.gateway.cipher import Cipher, UnreadableError
from services.gateway.keys.permissions import Caller

log = logging.getLogger(__name__)

# Separates what is sealed here from all else that is sealed under the same secret.
PURPOSE = b"lumni responses v1"
# A longer conversation, compressed and in bytes, is not kept: it could hardly be gone on from.
MOST = 8 * 1024 * 1024
# Up to this size, in bytes, sealing takes less than a millisecond; beyond it a thread does it.
AT_ONCE = 64 * 1024
KEEP = """
INSERT INTO responses (response_id, tenant, user_id, sealed, expires_at)
VALUES ($1, $2, $3, $4, now() + make_interval(days => $5))
"""
READ = "SELECT sealed FROM responses WHERE response_id = $1 AND tenant = $2 AND user_id = $3 AND expires_at > now()"
DELETE = (
    "DELETE FROM responses WHERE response_id = $1 AND tenant = $2 AND user_id = $3 AND expires_at > now()"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A response, and the items of the conversation that it ends.

    Attributes:
        size: Bytes of both as JSON, of what was read.

    """

    response: dict[str, Any]
    items: list[Any]
    size: int = field(default=0, compare=False)


class ResponseStore:
    """Keeps responses for some days.

    Args:
        pool: PostgreSQL.
        cipher: Encrypts them.
        days: For how long.

    """

    def __init__(self, pool: postgres.Pool, cipher: Cipher, days: int) -> None:
        self._pool = pool
        self._cipher = cipher
        self._days = days

    async def keep(self, caller: Caller, kept: Kept) -> bool:
        """Keep a response; False where that failed, which the response then says."""
        ident = kept.response["id"]
        text = orjson.dumps({"response": kept.response, "items": kept.items})
        place = _place(caller, ident)
        # zlib and the cipher let the loop go on meanwhile.
        sealed = (
            await asyncio.to_thread(self._cipher.seal, text, place)
            if len(text) > AT_ONCE
            else self._cipher.seal(text, place)
        )
        if len(sealed) > MOST:
            return False
        try:
            async with postgres.connection(self._pool) as connection:
                await connection.execute(KEEP, ident, caller.tenant, caller.user_id, sealed, self._days)
        except postgres.ERRORS:
            log.warning("a response could not be kept", exc_info=True)
            return False
        return True

    async def read(self, caller: Caller, ident: str, param: str) -> Kept:
        """A caller's response.

        Args:
            caller: Whose it must be.
            ident: Its id.
            param: The field that names it.

        Raises:
            NotFound: there is none of this id for this caller, or it was deleted or has expired.
            Unavailable: PostgreSQL cannot say.
        """
        try:
            async with postgres.connection(self._pool) as connection:
                sealed = await connection.fetchval(READ, ident, caller.tenant, caller.user_id)
        except postgres.ERRORS as error:
            raise _unavailable() from error
        if sealed is None:
            raise _not_found(ident, param)
        try:
            # However short it is: nobody knows how long a text it becomes.
            kept = await asyncio.to_thread(self._opened, sealed, _place(caller, ident))
        except UnreadableError:
            log.warning("a kept response cannot be decrypted: LUMNI_RESPONSES_KEY is another one now")
            raise _not_found(ident, param) from None
        return kept

    async def delete(self, caller: Caller, ident: str, param: str) -> None:
        """Forget a caller's response.

        Raises:
            NotFound, Unavailable: as `read`.
        """
        try:
            async with postgres.connection(self._pool) as connection:
                deleted = await connection.execute(DELETE, ident, caller.tenant, caller.user_id)
        except postgres.ERRORS as error:
            raise _unavailable() from error
        if deleted.endswith(" 0"):
            raise _not_found(ident, param)

    def _opened(self, sealed: bytes, place: str) -> Kept:
        text = self._cipher.open(sealed, place)
        return Kept(**orjson.loads(text), size=len(text))


def _place(caller: Caller, ident: str) -> str:
    """What a row is sealed for: one that is moved to another caller or id cannot be read there."""
    return orjson.dumps([caller.tenant, caller.user_id, ident]).decode()


def _not_found(ident: str, param: str) -> errors.NotFound:
    return errors.NotFound(
        f"{param}: there is no response {ident[:100]} of yours; it may have been deleted, have expired, or not have "
        "been stored",
        reason="RESPONSE_NOT_FOUND",
        param=param,
    )


def _unavailable() -> errors.Unavailable:
    return errors.Unavailable("kept responses cannot be read at the moment", retry_after_s=1)
