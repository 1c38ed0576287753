"""What is recorded of requests, and where it goes: nothing unless a setting says so."""

from dataclasses import dataclass

from services.chassis.config import Secret, Secrets, part, variable
from services.gateway.cipher import SHORTEST_SECRET
from services.gateway.recording.record import Content

LONGEST_DAYS = 3650
SCHEME = "s3://"


@dataclass(frozen=True)
class ObjectStorage:
    """Which S3-compatible storage takes records, and as whom."""

    address: str = variable(
        "LUMNI_REQUEST_LOG_S3",
        "",
        "bucket, and what names begin with, for one JSON object a request, such as s3://logs/llm; none by default",
    )
    endpoint: str = variable(
        "LUMNI_REQUEST_LOG_S3_ENDPOINT",
        "",
        "address of the storage, such as http://minio:9000; Amazon's by default",
    )
    region: str = variable("LUMNI_REQUEST_LOG_S3_REGION", "us-east-1", "region of the bucket")
    key_id: str = variable(
        "LUMNI_REQUEST_LOG_S3_KEY_ID", "", "id of the access key; AWS_* or the machine's role by default"
    )
    secret: Secret = variable("LUMNI_REQUEST_LOG_S3_SECRET", Secret(""), "the access key's secret")

    def __post_init__(self) -> None:
        if self.address and not (self.address.startswith(SCHEME) and self.bucket):
            raise ValueError("LUMNI_REQUEST_LOG_S3: expected a bucket, and a prefix perhaps: s3://logs/llm")
        if self.endpoint and not self.endpoint.startswith(("https://", "http://")):
            raise ValueError(
                "LUMNI_REQUEST_LOG_S3_ENDPOINT: expected an address that begins with https:// or http://"
            )
        if bool(self.key_id) != bool(self.secret):
            raise ValueError(
                "LUMNI_REQUEST_LOG_S3_KEY_ID, LUMNI_REQUEST_LOG_S3_SECRET: expected both or neither"
            )

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self.address.removeprefix(SCHEME).partition("/")[0]

    @property
    def prefix(self) -> str:
        """What names begin with; empty for nothing."""
        return self.address.removeprefix(SCHEME).partition("/")[2].strip("/")


@dataclass(frozen=True)
class Settings:
    """Where records go, what is in them, and how much."""

    folder: str = variable(
        "LUMNI_REQUEST_LOG_DIR", "", "folder for one JSON file a request, such as logs/llm; none by default"
    )
    content: str = variable(
        "LUMNI_REQUEST_LOG_CONTENT",
        "redacted",
        "what these say of prompts and answers: none, redacted (keys, mail addresses, cards hidden) or full",
    )
    most_mib: int = variable(
        "LUMNI_REQUEST_LOG_MAX_MIB", 1024, "MiB of these files in all; the oldest make room"
    )
    objects: ObjectStorage = part()
    in_spans: str = variable(
        "LUMNI_TRACE_CONTENT", "none", "what spans say of prompts and answers: none, redacted or full"
    )
    prompts_key: Secrets = variable(
        "LUMNI_PROMPTS_KEY",
        Secrets(""),
        "encrypts prompts and answers that are kept in PostgreSQL, at least 32 characters; without it none are; "
        "an old one is needed for LUMNI_PROMPTS_DAYS",
    )
    prompts_days: int = variable("LUMNI_PROMPTS_DAYS", 30, "days for which prompts and answers are kept")
    prompts_content: str = variable(
        "LUMNI_PROMPTS_CONTENT", "redacted", "what is kept of prompts and answers: redacted or full"
    )

    def __post_init__(self) -> None:
        if self.content not in list(Content):
            raise ValueError(f"LUMNI_REQUEST_LOG_CONTENT: expected {', '.join(Content)}")
        if self.most_mib < 1:
            raise ValueError("LUMNI_REQUEST_LOG_MAX_MIB: expected at least 1")
        if self.in_spans not in list(Content):
            raise ValueError(f"LUMNI_TRACE_CONTENT: expected {', '.join(Content)}")
        if any(len(one.reveal()) < SHORTEST_SECRET for one in self.prompts_key.accepted):
            raise ValueError(f"LUMNI_PROMPTS_KEY: expected at least {SHORTEST_SECRET} characters")
        if not 1 <= self.prompts_days <= LONGEST_DAYS:
            raise ValueError(f"LUMNI_PROMPTS_DAYS: expected 1 to {LONGEST_DAYS}")
        if self.prompts_content not in (Content.REDACTED, Content.FULL):
            raise ValueError("LUMNI_PROMPTS_CONTENT: expected redacted or full")
