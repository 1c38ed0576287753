"""What the selector reads from its environment."""

from dataclasses import dataclass
from pathlib import Path

from services.chassis import redis_address, rpc
from services.chassis.config import Secret, part, variable
from services.chassis.telemetry import Settings as Telemetry


@dataclass(frozen=True)
class Settings:
    """What the selector reads from its environment."""

    server: rpc.Settings = part()
    telemetry: Telemetry = part()
    listen: str = variable("LUMNI_LISTEN", "127.0.0.1:50052", "address of the gRPC server")
    config_dir: Path = variable(
        "LUMNI_CONFIG_DIR", Path("config"), "folder of litellm_config.yaml and lumni.yaml"
    )
    redis_url: Secret = variable(
        "REDIS_URL", Secret(""), "where executors publish health; empty takes all to be well"
    )
    reload_s: float = variable("LUMNI_RELOAD_S", 2.0, "seconds between looks at the configuration")

    def __post_init__(self) -> None:
        rpc.check_listen(self.listen, self.server)
        if self.redis_url:
            redis_address.parse(self.redis_url.reveal())

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return (self.listen,)
