"""The certificate, key and authorities that services know each other by, read again when their files are replaced."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from services.chassis.config import Mistakes
from services.chassis.rpc.settings import Settings
from services.chassis.watch import Watch

log = logging.getLogger(__name__)


class Pem(NamedTuple):
    """What the files hold, in PEM."""

    key: bytes
    certificate: bytes
    # One authority or several: those that signed the certificates of others.
    authorities: bytes


class CertificateFiles:
    """The files LUMNI_TLS_*: always a certificate with its own key, whenever they are replaced.

    They are replaced one after the other, or all at once where they are behind a symbolic link, as Kubernetes does it.
    Until certificate and key fit together again, what was read before holds.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the files.

        Raises:
            Mistakes: one is missing or is no PEM, or the key is not the certificate's.
        """
        self._key, self._certificate, self._authorities = (
            Path(path) for path in (settings.tls_key, settings.tls_cert, settings.tls_ca)
        )
        # gRPC asks from threads of its own.
        self._lock = Lock()
        self._watch = Watch(self._key, self._certificate, self._authorities)
        self._replaced = False
        try:
            self._pem = self._read()
        except (OSError, ValueError) as error:
            raise Mistakes([f"LUMNI_TLS_CERT, LUMNI_TLS_KEY and LUMNI_TLS_CA: {error}"]) from error

    def current(self) -> Pem:
        """What the files hold now, the same object while they are not replaced."""
        with self._lock:
            self._replaced = self._watch.changed() or self._replaced
            if self._replaced:
                self._replaced = False
                try:
                    found = self._read()
                except (OSError, ValueError) as error:
                    log.warning(
                        "LUMNI_TLS_* are not in force yet: %s; the certificate read before is used", error
                    )
                    return self._pem
                # Files that changed while they were read may not belong together.
                self._replaced = self._watch.changed()
                if not self._replaced and found != self._pem:
                    self._pem = found
            return self._pem

    def _read(self) -> Pem:
        """Read all three.

        Raises:
            OSError: a file is missing or cannot be read.
            ValueError: what a file holds is unusable.
        """
        pem = Pem(self._key.read_bytes(), self._certificate.read_bytes(), self._authorities.read_bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The password keeps OpenSSL from asking at the terminal for one.
        _checked(
            f"{self._certificate} is no certificate of the key in {self._key}",
            lambda: context.load_cert_chain(self._certificate, self._key, password=""),
        )
        _checked(
            f"{self._authorities} holds no certificate of an authority",
            lambda: context.load_verify_locations(self._authorities),
        )
        return pem


def _checked(otherwise: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise ValueError(f"{otherwise} ({error.reason or error})") from error
