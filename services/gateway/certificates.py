"""How long the certificate is valid that services know this one by."""

from pathlib import Path

import prometheus_client
from cryptography import x509

EXPIRES = prometheus_client.Gauge(
    "lumni_certificate_expires_timestamp_seconds",
    "When the certificate in LUMNI_TLS_CERT, as it was read at the start, expires.",
    multiprocess_mode="livemin",
)


def show_expiry(file: str) -> None:
    """Measure when the first certificate of a PEM file expires; gRPC reads such files once, at the start, too."""
    certificate = x509.load_pem_x509_certificate(Path(file).read_bytes())
    EXPIRES.set(certificate.not_valid_after_utc.timestamp())
