"""How long the certificate is valid that services know this one by."""

import logging
from pathlib import Path

import prometheus_client
from cryptography import x509

from services.chassis.watch import Watch

log = logging.getLogger(__name__)

# Seconds between looks at the file.
LOOK_S = 10.0

EXPIRES = prometheus_client.Gauge(
    "lumni_certificate_expires_timestamp_seconds",
    "When the certificate in LUMNI_TLS_CERT expires.",
    multiprocess_mode="livemin",
)


async def show_expiry(file: str, *, every_s: float = LOOK_S) -> None:
    """Measure when the first certificate of a PEM file expires, and again whenever the file is replaced."""
    path = Path(file)
    watch = Watch(path)
    _show(path)
    async for _ in watch.changes(every_s):
        _show(path)


def _show(path: Path) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        log.warning("LUMNI_TLS_CERT: when %s expires cannot be read: %s", path, error)
        return
    EXPIRES.set(certificate.not_valid_after_utc.timestamp())
