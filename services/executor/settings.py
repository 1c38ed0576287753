"""What the executor reads from its environment."""

from dataclasses import dataclass
from pathlib import Path

from services.chassis import redis, rpc, stream_partitions
from services.chassis.config import part, variable
from services.chassis.telemetry import Settings as Telemetry

# One call may send so much, which is engines.images.LARGEST_TOGETHER.
LEAST_PICTURES_MIB = 40
# What nobody pays for pings, in US dollars a day.
MOST_PROBE_USD = 1000


@dataclass(frozen=True)
class Settings:
    """What the executor needs to know."""

    listen: str = variable("LUMNI_LISTEN", "127.0.0.1:50053", "address of the gRPC server")
    config_dir: Path = variable("LUMNI_CONFIG_DIR", Path("config"), "folder of litellm_config.yaml")
    state_dir: Path = variable(
        "LUMNI_STATE_DIR", Path(".lumni"), "folder of the usage spool; survives restarts"
    )
    redis_url: str = variable("REDIS_URL", "", "Redis; without it usage stays in the spool")
    partitions: int = variable("LUMNI_STREAM_PARTITIONS", 1, stream_partitions.DOC)
    reload_s: float = variable("LUMNI_RELOAD_S", 2.0, "seconds between looks at the configuration")
    first_backoff_s: float = variable("LUMNI_RETRY_FIRST_S", 0.25, "wait before the first retry, in seconds")
    longest_backoff_s: float = variable(
        "LUMNI_RETRY_LONGEST_S", 8.0, "longest wait before a retry, in seconds"
    )
    idle_s: float = variable("LUMNI_STREAM_IDLE_S", 120.0, "silence after which a stream is dead, in seconds")
    breaker_share: float = variable(
        "LUMNI_BREAKER_SHARE", 0.5, "share of failures that opens a breaker, 0 to 1"
    )
    breaker_window_s: float = variable(
        "LUMNI_BREAKER_WINDOW_S", 60.0, "the breakers' sliding window, in seconds"
    )
    engine: str = variable("LUMNI_EXECUTOR_ENGINE", "fast", "fast where it is proven, or general everywhere")
    probe_s: float = variable(
        "LUMNI_PROBE_S", 0.0, "idle seconds after which a deployment is probed; 0 is never"
    )
    probe_usd: float = variable(
        "LUMNI_PROBE_USD_PER_DAY", 0.1, "US dollars that the probes of this executor may cost in a day, UTC"
    )
    queue: int = variable("LUMNI_DEPLOYMENT_QUEUE", 32, "calls that may be queued for a slot, per deployment")
    pictures_mib: int = variable(
        "LUMNI_PICTURES_MIB",
        128,
        "pictures fetched and held at once for all calls, in MiB; they take up to four times the memory",
    )
    server: rpc.Settings = part()
    telemetry: Telemetry = part()

    def __post_init__(self) -> None:
        rpc.check_listen(self.listen, self.server)
        if not 0 <= self.probe_usd <= MOST_PROBE_USD:
            raise ValueError(f"LUMNI_PROBE_USD_PER_DAY: expected 0 to {MOST_PROBE_USD}")
        if self.engine not in ("fast", "general"):
            raise ValueError("LUMNI_EXECUTOR_ENGINE: expected fast or general")
        if self.pictures_mib < LEAST_PICTURES_MIB:
            raise ValueError(
                f"LUMNI_PICTURES_MIB: expected at least {LEAST_PICTURES_MIB}, what one call may send"
            )
        stream_partitions.check(self.partitions)
        if self.redis_url:
            redis.check_url(self.redis_url)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return (self.listen,)
