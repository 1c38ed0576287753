"""Where everything on this machine listens and what it keeps."""

from dataclasses import dataclass
from pathlib import Path

from services.chassis import rpc
from services.chassis.config import Secret, part, variable
from services.local import ports

# Each has a gRPC port, in this order from LUMNI_LOCAL_PORT on; and a metrics port, as has the ledger.
BEHIND = ("classifier", "selector", "executor")
SERVICES = ("gateway", *BEHIND)
MEASURED = (*SERVICES, "ledger")


@dataclass(frozen=True)
class Settings:
    """Where everything listens and what it keeps; port 0 is any free one."""

    server: rpc.Settings = part()
    rest: str = variable("LUMNI_REST_LISTEN", "127.0.0.1:8080", "host:port of the REST server")
    grpc_port: int = variable(
        "LUMNI_LOCAL_PORT", 50050, "gRPC port of the gateway; classifier, selector and executor follow"
    )
    metrics_port: int = variable(
        "LUMNI_LOCAL_METRICS_PORT", 9100, "Prometheus port of the gateway; the others follow"
    )
    model_port: int = variable("LUMNI_LOCAL_MODEL_PORT", 0, "port of the local model")
    postgres_port: int = variable("LUMNI_LOCAL_POSTGRES_PORT", 0, "port of PostgreSQL")
    valkey_port: int = variable("LUMNI_LOCAL_VALKEY_PORT", 0, "port of Valkey")
    together: bool = variable(
        "LUMNI_LOCAL_TOGETHER",
        default=False,
        doc="runs the gateway and the services behind it in one process",
    )
    drain_s: float = variable("LUMNI_LOCAL_DRAIN_S", 30.0, "how long requests may take to end after Ctrl-C")
    state_dir: Path = variable("LUMNI_STATE_DIR", Path(".lumni"), "folder of data, keys and logs")
    config_dir: Path = variable("LUMNI_CONFIG_DIR", Path("config"), "folder of the configuration")
    api_key: Secret = variable("LUMNI_API_KEY", Secret(""), "the caller's key; made once if not given")
    admin_key: Secret = variable("LUMNI_ADMIN_KEY", Secret(""), "the admin's key; made once if not given")
    viewer_key: Secret = variable(
        "LUMNI_VIEWER_KEY", Secret(""), "a key that opens /dashboard for reading alone"
    )
    key_secret: Secret = variable(
        "LUMNI_KEY_SECRET", Secret(""), "keys the digests of virtual keys; as above"
    )
    responses_key: Secret = variable(
        "LUMNI_RESPONSES_KEY", Secret(""), "encrypts the responses that are kept; as above"
    )

    def __post_init__(self) -> None:
        try:
            ports.split(self.rest)
        except ValueError as error:
            raise ValueError(f"LUMNI_REST_LISTEN: {error}") from None

    def measured(self) -> tuple[str, ...]:
        """The processes that have a metrics port."""
        return ("gateway", "ledger") if self.together else MEASURED

    def grpc(self, name: str) -> str:
        """The gRPC address of a service."""
        return f"127.0.0.1:{self.grpc_port + SERVICES.index(name)}"

    def metrics(self, name: str) -> str:
        """The address of a service's Prometheus endpoint."""
        return f"127.0.0.1:{self.metrics_port + MEASURED.index(name)}"

    def url(self) -> str:
        """The REST server's address as its callers here spell it."""
        host, port = ports.split(self.rest)
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"

    def addresses(self) -> list[tuple[str, str]]:
        """Every fixed address, with the variable that changes it."""
        chosen = [(self.rest, "LUMNI_REST_LISTEN")]
        chosen += [(self.grpc(name), "LUMNI_LOCAL_PORT") for name in SERVICES]
        chosen += [(self.metrics(name), "LUMNI_LOCAL_METRICS_PORT") for name in self.measured()]
        for port, name in (
            (self.model_port, "LUMNI_LOCAL_MODEL_PORT"),
            (self.postgres_port, "LUMNI_LOCAL_POSTGRES_PORT"),
            (self.valkey_port, "LUMNI_LOCAL_VALKEY_PORT"),
        ):
            if port:
                chosen.append((f"127.0.0.1:{port}", name))
        return chosen
