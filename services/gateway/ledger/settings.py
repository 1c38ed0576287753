"""What the ledger reads from its environment."""

from dataclasses import dataclass
from pathlib import Path

from services.chassis import redis_address, stream_partitions
from services.chassis.config import Secret, part, variable
from services.chassis.telemetry import Settings as Telemetry
from services.gateway.alerts.messenger import FORMATS


@dataclass(frozen=True)
class Settings:
    """What the ledger needs to know."""

    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    redis_url: Secret = variable("REDIS_URL", doc="address of Redis")
    interval_s: float = variable(
        "LUMNI_LEDGER_INTERVAL_S", 0.2, "shortest time between two batches of a stream"
    )
    takeover_s: float = variable(
        "LUMNI_LEDGER_TAKEOVER_S", 10.0, "after which a silent ledger's entries are taken over"
    )
    grace_s: float = variable(
        "LUMNI_LEDGER_GRACE_S", 60.0, "how long after its deadline an attempt's end is waited for"
    )
    retention_days: int = variable(
        "LUMNI_RETENTION_DAYS", 0, "days after which usage rows are deleted; 0 keeps them"
    )
    learning_days: int = variable(
        "LUMNI_LEARNING_DAYS", 90, "days after which what is learnt from is deleted; 0 keeps it"
    )
    alerts_webhook: Secret = variable(
        "LUMNI_ALERTS_WEBHOOK",
        Secret(""),
        "address that alerts are posted to, by the thresholds in lumni.yaml; set it for one ledger; empty is none",
    )
    alerts_format: str = variable("LUMNI_ALERTS_FORMAT", "slack", "what the webhook takes: slack or json")
    config_dir: Path = variable("LUMNI_CONFIG_DIR", Path("config"), "folder of lumni.yaml, for alerts")
    reload_s: float = variable("LUMNI_RELOAD_S", 2.0, "seconds between looks at the configuration")
    partitions: int = variable("LUMNI_STREAM_PARTITIONS", 1, stream_partitions.DOC)
    telemetry: Telemetry = part()

    @property
    def learnt_days(self) -> int:
        """For how many days what is learnt from is kept, which is never longer than its usage; 0 is for good."""
        return min(filter(None, (self.retention_days, self.learning_days)), default=0)

    def __post_init__(self) -> None:
        stream_partitions.check(self.partitions)
        redis_address.parse(self.redis_url.reveal())
        if self.alerts_format not in FORMATS:
            raise ValueError(f"LUMNI_ALERTS_FORMAT: expected {' or '.join(FORMATS)}")
        address = self.alerts_webhook.reveal()
        if address and not address.startswith(("https://", "http://")):
            raise ValueError("LUMNI_ALERTS_WEBHOOK: expected an address that begins with https:// or http://")
