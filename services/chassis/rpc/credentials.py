"""How services know each other: a shared token in the metadata, mutual TLS, or a loopback address."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import grpc

from services.chassis import errors
from services.chassis.rpc.settings import TOKEN_KEY, Settings


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
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_token(metadata: Mapping[str, str], settings: Settings) -> None:
    """Compare a call's service token with ours, in constant time.

    Raises:
        Unauthenticated: it is missing or wrong.

    """
    given = metadata.get(TOKEN_KEY, "")
    if not hmac.compare_digest(given.encode(), settings.token.reveal().encode()):
        raise errors.Unauthenticated(f"{TOKEN_KEY}: missing or wrong", reason="INVALID_SERVICE_TOKEN")


def for_server(settings: Settings) -> grpc.ServerCredentials:
    """What a server shows its clients under mutual TLS, and demands of them."""
    key, certificate, authority = _pem(settings)
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


def for_channel(settings: Settings) -> grpc.ChannelCredentials:
    """What a client shows a server under mutual TLS, and demands of it."""
    key, certificate, authority = _pem(settings)
    return grpc.ssl_channel_credentials(authority, key, certificate)


def _pem(settings: Settings) -> tuple[bytes, bytes, bytes]:
    key, certificate, authority = (
        Path(path).read_bytes() for path in (settings.tls_key, settings.tls_cert, settings.tls_ca)
    )
    return key, certificate, authority
