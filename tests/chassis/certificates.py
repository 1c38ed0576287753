"""Authorities and certificates of tests, in the three files that a service reads."""

from pathlib import Path

import trustme

from services.chassis import rpc


def write(folder: Path, certificate: trustme.LeafCert, *authorities: trustme.CA) -> None:
    """Put a certificate, its key and the authorities to believe into a folder, as Kubernetes names them.

    Each set of files gets a folder of its own behind a link that is replaced, as the kubelet does it for a Secret.
    """
    folder.mkdir(exist_ok=True)
    version = folder / f"..v{len(list(folder.glob('..v*')))}"
    version.mkdir()
    (version / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    (version / "tls.key").write_bytes(certificate.private_key_pem.bytes())
    (version / "ca.crt").write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))
    link = folder / "..new"
    link.symlink_to(version.name)
    link.replace(folder / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data", name))


def settings(folder: Path, *, connection_age_s: float = 60.0) -> rpc.Settings:
    """What a service is told of the files in a folder."""
    return rpc.Settings(
        tls_cert=str(folder / "tls.crt"),
        tls_key=str(folder / "tls.key"),
        tls_ca=str(folder / "ca.crt"),
        connection_age_s=connection_age_s,
    )
