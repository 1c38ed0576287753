"""What every source is read into, and what the writer writes; money is exact, as the source has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

from services.gateway.ledger.rows import Kind


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key, a user or an organization may use; None is no limit of its own."""

    rpm_limit: int | None = None
    tpm_limit: int | None = None
    parallel_limit: int | None = None
    budget_nano_usd: int | None = None
    budget_period: str = "month"


@dataclass(frozen=True, slots=True)
class Organization:
    """Whoever shares limits and a budget."""

    organization_id: str
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who holds keys."""

    user_id: str
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Key:
    """A key. Its holder goes on with it if the source has the key itself or its SHA-256, else it needs rotating."""

    # What the source's other rows call it; usage is found by it.
    ref: str
    secret: str = ""
    sha256: bytes = b""
    hint: str = ""
    user_id: str | None = None
    organization_id: str | None = None
    # None is the plan that the import was told.
    plan: str | None = None
    models: Sequence[str] = ()
    limits: Limits = Limits()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spend:
    """What a request cost, or all of a day's where the source has no more than that."""

    # The same for the same row of the same source, whenever it is read.
    identity: str
    at: datetime
    model: str
    # US dollars with all the decimals that the source has.
    cost_usd: Decimal
    kind: Kind = Kind.FINAL
    key_ref: str = ""
    user_id: str = ""
    organization_id: str = ""
    provider: str = ""
    operation: str = "chat"
    category: str = ""
    tier: str = ""
    stream: bool = False
    tokens: Mapping[str, int] = field(default_factory=dict)
    duration_ms: float = 0.0
    first_chunk_ms: float = 0.0
    status_code: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """Something of a row that has no counterpart here, or becomes something else: said once for all such rows."""

    text: str
    subject: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row that cannot be imported: where it is, which field, and what to do."""

    table: str
    row: str
    problem: str

    def __str__(self) -> str:
        """As a line for people."""
        return f"{self.table} {self.row}: {self.problem}"


Record: TypeAlias = Organization | User | Key | Spend | Note | Mistake
