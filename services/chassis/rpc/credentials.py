"""How services know each other: a shared token in the metadata, mutual TLS, or a loopback address."""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TypeAlias

import grpc

from services.chassis import errors
from services.chassis.rpc.certificates import CertificateFiles, Pem
from services.chassis.rpc.settings import INPROC, TOKEN_KEY, Settings

# A call's metadata, which a key may be given in twice.
Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
# Whether a call may go on, by its metadata alone; raises a Fault if not, and says whose the bytes of its message are:
# nobody's (empty) where all callers are services.
Admit: TypeAlias = Callable[[Metadata], Awaitable[str]]


def check_listen(listen: str, settings: Settings) -> None:
    """Refuse an address that other machines can reach while callers need not prove who they are.

    Raises:
        ValueError: beyond loopback without a service token or mutual TLS.

    """
    if not (_is_loopback(listen) or settings.token or settings.mutual_tls):
        raise ValueError(
            f"LUMNI_LISTEN: {listen} can be reached from other machines; "
            "set LUMNI_SERVICE_TOKEN (or LUMNI_TLS_*), or listen on 127.0.0.1"
        )


def _is_loopback(listen: str) -> bool:
    if listen.startswith(("unix:", INPROC)):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_check(settings: Settings) -> Admit:
    """Admits calls that show the service token, or the one before it; every call where there is no token."""
    accepted = [one.reveal().encode() for one in settings.token.accepted]

    async def admit(metadata: Metadata) -> str:
        given = str(dict(metadata).get(TOKEN_KEY, "")).encode()
        if accepted and not any(hmac.compare_digest(given, one) for one in accepted):
            raise errors.Unauthenticated(f"{TOKEN_KEY}: missing or wrong", reason="INVALID_SERVICE_TOKEN")
        return ""

    return admit


def for_server(files: CertificateFiles) -> grpc.ServerCredentials:
    """What a server shows its clients under mutual TLS, and demands of them: what the files hold when they connect."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        key, certificate, authorities = files.current()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)

    return grpc.dynamic_ssl_server_credentials(
        configuration(), configuration, require_client_authentication=True
    )


def for_channel(pem: Pem) -> grpc.ChannelCredentials:
    """What a client shows a server under mutual TLS, and demands of it."""
    return grpc.ssl_channel_credentials(pem.authorities, pem.key, pem.certificate)
