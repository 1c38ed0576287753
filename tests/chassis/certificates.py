"""A small authority for tests, by the openssl program."""

import subprocess
from pathlib import Path

from services.chassis import rpc


def make(folder: Path) -> rpc.Settings:
    """A self-signed certificate for localhost that is its own authority."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return rpc.Settings(tls_cert=str(certificate), tls_key=str(key), tls_ca=str(certificate))
