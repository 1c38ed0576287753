"""Encrypts what is kept of conversations, so that the database alone tells nothing of them."""

import os
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# What NIST asks of AES-GCM, in bytes: a new one for each text.
NONCE = 12
# Separates this use of the secret from any other.
PURPOSE = b"lumni responses v1"


class UnreadableError(Exception):
    """Another key, another place, or changed."""


class Cipher:
    """AES-256-GCM under a key that is derived from a secret."""

    def __init__(self, secret: str) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(secret.encode())
        self._cipher = AESGCM(derived)

    def seal(self, text: bytes, place: str) -> bytes:
        """A text, compressed and encrypted; it can be read for the same place only."""
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, zlib.compress(text, 1), place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """The text.

        Raises:
            UnreadableError: it was not sealed by this key for this place.
        """
        try:
            return zlib.decompress(self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], place.encode()))
        except (InvalidTag, ValueError) as error:
            raise UnreadableError from error
