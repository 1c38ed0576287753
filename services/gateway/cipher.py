"""Encrypts what is kept of conversations, so that the stores alone tell nothing of them."""

import os
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.chassis.config import Secrets

# What NIST asks of AES-GCM, in bytes: a new one for each text.
NONCE = 12
# The shortest secret, in characters: what `openssl rand -hex 16` gives.
SHORTEST_SECRET = 32


class UnreadableError(Exception):
    """Another key, another place, or changed."""


class Cipher:
    """AES-256-GCM under a key that is derived from a secret, another one for each purpose."""

    def __init__(self, secrets: Secrets, purpose: bytes) -> None:
        """Encrypt under the first secret, and read what was encrypted under any of them."""
        self._ciphers = [AESGCM(derived_key(one.reveal(), purpose)) for one in secrets.accepted]

    def seal(self, text: bytes, place: str) -> bytes:
        """A text, compressed and encrypted; it can be read for the same place only."""
        nonce = os.urandom(NONCE)
        return nonce + self._ciphers[0].encrypt(nonce, zlib.compress(text, 1), place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """The text.

        Raises:
            UnreadableError: it was not sealed by these keys for this place.
        """
        for cipher in self._ciphers:
            try:
                return zlib.decompress(cipher.decrypt(sealed[:NONCE], sealed[NONCE:], place.encode()))
            except InvalidTag:
                continue
            except ValueError as error:
                raise UnreadableError from error
        raise UnreadableError


def derived_key(secret: str, purpose: bytes) -> bytes:
    """A key of 32 bytes; the purpose separates this use of the secret from any other."""
    return HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret.encode())
