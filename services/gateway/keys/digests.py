"""Keys as texts, and the keyed digests that are stored in their place."""

import base64
import hashlib
import hmac
import secrets

from services.chassis.config import Secrets

# What keys begin with: those made here, and those imported from another system.
PREFIX = "sk-lumni-"
IMPORTED_PREFIX = "sk-"
# Of a secret, by which its digests are told from those of another: no key is spelled so. Hexadecimal characters.
FINGERPRINT = "fingerprint of this secret"
FINGERPRINT_LENGTH = 12

# Stands before a SHA-256 in place of a key; no key begins so.
HASHED = b"sha256\0"


def generate() -> str:
    """A new key."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str, secret: str) -> bytes:
    """What is stored of a key: 32 bytes that lead nowhere without the secret."""
    return hmac.digest(secret.encode() or b"lumni", key.encode("utf-8", "replace"), hashlib.sha256)


def _digest_of_sha256(hashed: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode() or b"lumni", HASHED + hashed, hashlib.sha256)


class Digests:
    """The digests of this installation."""

    def __init__(self, secret: Secrets, admin_key: Secrets) -> None:
        """Key all digests.

        Args:
            secret: Keys the digests; must be the same in all processes. With several, the first keys new digests, and
                keys are known by the digests of the others, too.
            admin_key: Keys what is derived where there is no secret.
        """
        self._secret = secret.reveal()
        self._earlier = tuple(one.reveal() for one in secret.accepted[1:])
        self._source = secret.reveal() or admin_key.reveal()
        self.keyed_by = digest(FINGERPRINT, self._secret).hex()[:FINGERPRINT_LENGTH]

    def of(self, key: str) -> bytes:
        """What is stored of a key."""
        return digest(key, self._secret)

    def accepted(self, key: str) -> list[bytes]:
        """What may be stored of a key: first what is stored of a new one, then what was under earlier secrets."""
        return [digest(key, secret) for secret in (self._secret, *self._earlier)]

    def accepted_sha256(self, key: str) -> list[bytes]:
        """As `accepted`, of a key of which another system kept the SHA-256 alone."""
        return self.accepted_hashed(hashlib.sha256(key.encode("utf-8", "replace")).digest())

    def accepted_hashed(self, hashed: bytes) -> list[bytes]:
        """As `accepted_sha256`, of the SHA-256 itself.

        Whoever reads that system's table has no key for this one: what is hashed here is no text that a key can be.
        """
        return [_digest_of_sha256(hashed, secret) for secret in (self._secret, *self._earlier)]

    def derived(self, purpose: str) -> str:
        """A new key that only this installation can make, and can make again for the same purpose."""
        made = hmac.digest(self._source.encode(), purpose.encode(), "sha256")
        return PREFIX + base64.urlsafe_b64encode(made).decode().rstrip("=")
