"""What servers and channels of all services share: their settings, header names and sizes."""

from dataclasses import dataclass

from services.chassis.config import Secrets, variable

# Bytes of one message that a channel sends or is answered with: an answer, with its pictures, and what is said of it.
MAX_MESSAGE = 32 * 1024 * 1024
# Bytes of one message to a service that takes bodies: they are at most as long in REST.
MAX_BODY = 16 * 1024 * 1024
# Bytes of headers and trailers: the status of a failed call carries its report in the trailers.
MAX_METADATA = 128 * 1024
# The target, and the address, of what is in the same process.
INPROC = "inproc:"
# Bytes of one message to classifier or selector, a batch or a single question: what they read of a conversation is
# shortened, so that one has at most about a MiB.
MAX_QUESTION = 2 * 1024 * 1024
TOKEN_KEY = "x-lumni-service-token"  # noqa: S105  (the header's name)
REQUEST_KEY = "x-request-id"


@dataclass(frozen=True)
class Settings:
    """What servers and channels of all services share, from the environment."""

    token: Secrets = variable(
        "LUMNI_SERVICE_TOKEN",
        Secrets(""),
        "shared by the services; needed beyond loopback",
    )
    tls_cert: str = variable(
        "LUMNI_TLS_CERT",
        "",
        "PEM file of this service's certificate, for mutual TLS; read again when replaced",
    )
    tls_key: str = variable("LUMNI_TLS_KEY", "", "PEM file of its key")
    tls_ca: str = variable(
        "LUMNI_TLS_CA", "", "PEM file of the authorities that signed all services' certificates"
    )
    health_listen: str = variable(
        "LUMNI_HEALTH_LISTEN",
        "",
        "host:port that answers gRPC's health checks alone, without TLS: Kubernetes' probes show no certificate",
    )
    reflection: bool = variable("LUMNI_REFLECTION", default=True, doc="lets grpcurl list services")
    timeout_s: float = variable(
        "LUMNI_REQUEST_TIMEOUT_S", 600.0, "longest a call may take, and the drain too"
    )
    max_calls: int = variable(
        "LUMNI_MAX_CALLS", 1024, "gRPC calls under way in one process; further ones are refused"
    )
    max_message_mib: int = variable(
        "LUMNI_MAX_MESSAGE_MIB",
        256,
        "MiB that the messages of gRPC calls under way may have together in one process, and the bodies of REST "
        "requests as much again; further ones are refused",
    )
    workers: int = variable("LUMNI_WORKERS", 1, "processes of this service that serve on the same ports")
    connection_age_s: float = variable(
        "LUMNI_CONNECTION_AGE_S", 60.0, "after which clients look for new replicas"
    )

    def __post_init__(self) -> None:
        parts = (self.tls_cert, self.tls_key, self.tls_ca)
        if any(parts) and not all(parts):
            raise ValueError("LUMNI_TLS_CERT, LUMNI_TLS_KEY and LUMNI_TLS_CA: set all three, or none")
        if self.health_listen and not self.mutual_tls:
            raise ValueError(
                "LUMNI_HEALTH_LISTEN: is for mutual TLS (LUMNI_TLS_*); without it LUMNI_LISTEN answers health checks"
            )
        if self.max_calls < 1:
            raise ValueError("LUMNI_MAX_CALLS: expected at least 1")
        if self.max_message_mib < MAX_MESSAGE // 2**20:
            raise ValueError(f"LUMNI_MAX_MESSAGE_MIB: expected at least {MAX_MESSAGE // 2**20}, one message")
        if self.workers < 1:
            raise ValueError("LUMNI_WORKERS: expected at least 1")

    @property
    def mutual_tls(self) -> bool:
        """Whether both sides show certificates."""
        return bool(self.tls_cert)
