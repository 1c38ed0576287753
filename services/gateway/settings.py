"""What the gateway reads from its environment."""

from dataclasses import dataclass
from pathlib import Path

from services.chassis import redis_address, rpc, stream_partitions
from services.chassis.config import Secret, Secrets, part, variable
from services.chassis.telemetry import Settings as Telemetry
from services.gateway.cache.settings import Settings as CacheSettings
from services.gateway.cipher import SHORTEST_SECRET
from services.gateway.dashboard.oidc.settings import Settings as OidcSettings
from services.gateway.recording import settings as recording

LONGEST_DAYS = 3650
# A month: a cookie cannot be called back before its time.
LONGEST_SESSION_H = 720
# Balancers that ask more rarely than this would send requests to any replica that dies, too.
LONGEST_DRAIN_DELAY_S = 300


@dataclass(frozen=True)
class Settings:
    """What the gateway needs to know."""

    rest: str = variable("LUMNI_REST_LISTEN", "127.0.0.1:8080", "host:port of the REST server")
    listen: str = variable("LUMNI_LISTEN", "127.0.0.1:50050", "address of the gRPC server")
    drain_delay_s: float = variable(
        "LUMNI_DRAIN_DELAY_S",
        0.0,
        "seconds for which REST goes on taking requests once the gateway was asked to stop, while /health/ready says "
        "draining; longer than balancers take to notice",
    )
    classifier: str = variable(
        "LUMNI_CLASSIFIER", "127.0.0.1:50051", "gRPC target of the classifier; inproc: in services.together"
    )
    selector: str = variable(
        "LUMNI_SELECTOR", "127.0.0.1:50052", "gRPC target of the selector; inproc: in services.together"
    )
    executor: str = variable(
        "LUMNI_EXECUTOR", "127.0.0.1:50053", "gRPC target of the executor; inproc: in services.together"
    )
    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    transaction_pooler: bool = variable(
        "LUMNI_DATABASE_TRANSACTION_POOLER",
        default=False,
        doc="whether the gateway reaches PostgreSQL through PgBouncer in transaction mode, or a pooler like it",
    )
    reports_database: Secret = variable(
        "LUMNI_REPORTS_DATABASE_URL",
        Secret(""),
        "address of a replica of PostgreSQL that reports, the dashboard and replays read usage from; "
        "empty is DATABASE_URL",
    )
    redis_url: Secret = variable("REDIS_URL", doc="address of Redis")
    partitions: int = variable("LUMNI_STREAM_PARTITIONS", 1, stream_partitions.DOC)
    api_key: Secrets = variable(
        "LUMNI_API_KEY", Secrets(""), "a key that works without a row in the database"
    )
    admin_key: Secrets = variable("LUMNI_ADMIN_KEY", doc="the key of the admin routes")
    viewer_key: Secrets = variable(
        "LUMNI_VIEWER_KEY", Secrets(""), "a key that opens /dashboard for reading alone; without it none does"
    )
    session_hours: int = variable(
        "LUMNI_SESSION_HOURS", 12, "hours after which somebody who signed in at /dashboard must do so again"
    )
    key_secret: Secrets = variable(
        "LUMNI_KEY_SECRET",
        Secrets(""),
        "keys the digests of virtual keys; an old one is needed until `lumni keys secret` says that no key needs it",
    )
    responses_key: Secrets = variable(
        "LUMNI_RESPONSES_KEY",
        Secrets(""),
        "encrypts the responses that are kept, at least 32 characters; without it none are kept; an old one is "
        "needed for LUMNI_RESPONSES_DAYS",
    )
    responses_days: int = variable("LUMNI_RESPONSES_DAYS", 30, "days for which responses are kept")
    key_stale_s: float = variable(
        "LUMNI_KEY_STALE_S", 300.0, "how long known keys are good without any store"
    )
    config_dir: Path = variable(
        "LUMNI_CONFIG_DIR", Path("config"), "where litellm_config.yaml and lumni.yaml are"
    )
    reload_s: float = variable("LUMNI_RELOAD_S", 2.0, "seconds between looks at the configuration")
    grace_s: float = variable(
        "LUMNI_LEDGER_GRACE_S", 60.0, "how long after its deadline an attempt's end is waited for"
    )
    max_mistakes: int = variable(
        "LUMNI_MAX_MISTAKES",
        600,
        "wrong requests of a key in a minute and process, each MiB of them counted; 0 is no limit",
    )
    max_connections: int = variable(
        "LUMNI_MAX_CONNECTIONS", 4096, "REST connections of one process; also bounded by its open files"
    )
    max_connections_per_address: int = variable(
        "LUMNI_MAX_CONNECTIONS_PER_ADDRESS",
        1024,
        "REST connections of one client address; 0 is no bound, for behind a proxy that all callers come through",
    )
    cors: tuple[str, ...] = variable(
        "LUMNI_CORS_ORIGINS", (), "origins whose pages may call; * is any; none by default"
    )
    classify_timeout_s: float = variable(
        "LUMNI_CLASSIFY_TIMEOUT_S", 0.25, "longest wait for a classification"
    )
    select_timeout_s: float = variable("LUMNI_SELECT_TIMEOUT_S", 0.25, "longest wait for a selection")
    max_concurrent: int = variable(
        "LUMNI_MAX_CONCURRENT_REQUESTS",
        512,
        "requests of callers that one process works on at once, open streams included; fewer while it is overloaded",
    )
    portkey_feedback: str = variable(
        "LUMNI_PORTKEY_FEEDBACK",
        "",
        "Portkey's address for feedback, such as https://api.portkey.ai/v1/feedback; it gets none by default",
    )
    oidc: OidcSettings = part()
    records: recording.Settings = part()
    server: rpc.Settings = part()
    telemetry: Telemetry = part()
    cache: CacheSettings = part()

    def __post_init__(self) -> None:
        stream_partitions.check(self.partitions)
        redis_address.parse(self.redis_url.reveal())
        if not 0 <= self.drain_delay_s <= LONGEST_DRAIN_DELAY_S:
            raise ValueError(f"LUMNI_DRAIN_DELAY_S: expected 0 to {LONGEST_DRAIN_DELAY_S}")
        if self.max_mistakes < 0:
            raise ValueError("LUMNI_MAX_MISTAKES: expected 0 or more")
        if {*self.viewer_key.accepted} & {*self.admin_key.accepted, *self.api_key.accepted}:
            raise ValueError("LUMNI_VIEWER_KEY: expected another key than LUMNI_ADMIN_KEY and LUMNI_API_KEY")
        if not 1 <= self.session_hours <= LONGEST_SESSION_H:
            raise ValueError(f"LUMNI_SESSION_HOURS: expected 1 to {LONGEST_SESSION_H}")
        if any(len(one.reveal()) < SHORTEST_SECRET for one in self.responses_key.accepted):
            raise ValueError(f"LUMNI_RESPONSES_KEY: expected at least {SHORTEST_SECRET} characters")
        if not 1 <= self.responses_days <= LONGEST_DAYS:
            raise ValueError(f"LUMNI_RESPONSES_DAYS: expected 1 to {LONGEST_DAYS}")
        if self.max_connections < 1:
            raise ValueError("LUMNI_MAX_CONNECTIONS: expected at least 1")
        if self.max_connections_per_address < 0:
            raise ValueError("LUMNI_MAX_CONNECTIONS_PER_ADDRESS: expected 0 or more")
        if self.portkey_feedback and not self.portkey_feedback.startswith(("https://", "http://")):
            raise ValueError(
                "LUMNI_PORTKEY_FEEDBACK: expected an address that begins with https:// or http://"
            )
        if self.portkey_feedback and not self.telemetry.spans.portkey_key:
            raise ValueError("LUMNI_PORTKEY_FEEDBACK: needs PORTKEY_API_KEY, too")
        if self.max_concurrent < 1:
            raise ValueError("LUMNI_MAX_CONCURRENT_REQUESTS: must be at least 1")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return (self.rest, self.listen)
