"""Keys as texts, and the keyed digests that are stored in their place."""

import base64
import hashlib
import hmac
import secrets

from services.chassis.config import Secret

# What keys begin with: those made here, and those imported from another system.
PREFIX = "sk-lumni-"
IMPORTED_PREFIX = "sk-"


def generate() -> str:
    """A new key."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str, secret: Secret) -> bytes:
    """What is stored of a key: 32 bytes that lead nowhere without the secret."""
    return hmac.digest(secret.reveal().encode() or b"lumni", key.encode("utf-8", "replace"), hashlib.sha256)


class Digests:
    """The digests of this installation."""

    def __init__(self, secret: Secret, admin_key: Secret) -> None:
        """Key all digests.

        Args:
            secret: Keys the digests; must be the same in all processes, for good.
            admin_key: Keys what is derived where there is no secret.
        """
        self._secret = secret
        self._source = secret.reveal() or admin_key.reveal()

    def of(self, key: str) -> bytes:
        """What is stored of a key."""
        return digest(key, self._secret)

    def derived(self, purpose: str) -> str:
        """A new key that only this installation can make, and can make again for the same purpose."""
        made = hmac.digest(self._source.encode(), purpose.encode(), "sha256")
        return PREFIX + base64.urlsafe_b64encode(made).decode().rstrip("=")
