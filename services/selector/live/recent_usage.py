"""What each tenant's requests were sent to of late, counted by all replicas together, so that load spreads."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from services.selector.models.deployment_table import Array, DeploymentTable

# A window is counted in so many buckets; the oldest falls out whole.
BUCKETS = 6
# A few requests say little: a share is taken of this many more.
PRIOR = 10.0


@dataclass
class Tenant:
    """One tenant's counts by model: what all replicas told, and by bucket what this one has not told yet."""

    shared: Counter[str] = field(default_factory=Counter)
    own: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    asked_unix_s: float = 0.0
    # When this replica and the others last told each other.
    told_unix_s: float = 0.0
    # The values as of one second, so that they are not worked out for each request.
    known: tuple[int, Array] | None = None


class RecentUsage:
    """RecentUsage usage of all tenants that asked within the window."""

    def __init__(self, window_s: int, *, spreads: bool) -> None:
        self.tenants: dict[str, Tenant] = defaultdict(Tenant)
        self.window_s = window_s
        self._spreads = spreads
        self._swept = -1

    def follow(self, window_s: int, *, spreads: bool) -> None:
        """Go by a configuration; what was counted by another one is forgotten."""
        if (window_s, spreads) != (self.window_s, self._spreads):
            self.tenants.clear()
            self.window_s, self._spreads, self._swept = window_s, spreads, -1

    def bucket(self, now_unix_s: float) -> int:
        """The number of the bucket that a moment lies in."""
        return int(now_unix_s // (self.window_s / BUCKETS))

    def observe(self, name: str, model: str, now_unix_s: float) -> None:
        """Count that a model was selected first."""
        if self.bucket(now_unix_s) != self._swept:
            self._swept = self.bucket(now_unix_s)
            self.forget(now_unix_s)
        tenant = self.tenants[name]
        tenant.own[self.bucket(now_unix_s)][model] += 1
        tenant.asked_unix_s = now_unix_s

    def values(self, name: str, table: DeploymentTable, now_unix_s: float) -> Array | float:
        """How little the tenant used each deployment's model, 0 to 1; how much, when usage is to be kept together."""
        tenant = self.tenants.get(name)
        if tenant is None:
            return 1.0 if self._spreads else 0.0
        second = int(now_unix_s)
        if tenant.known is None or tenant.known[0] != second or len(tenant.known[1]) != len(table):
            tenant.known = (second, self._values(tenant, table, now_unix_s))
        return tenant.known[1]

    def forget(self, now_unix_s: float) -> None:
        """Drop who has not asked for a window, and buckets that are out of it."""
        oldest = self.bucket(now_unix_s) - BUCKETS
        for name, tenant in list(self.tenants.items()):
            if tenant.asked_unix_s < now_unix_s - self.window_s:
                del self.tenants[name]
                continue
            for bucket in [bucket for bucket in tenant.own if bucket <= oldest]:
                del tenant.own[bucket]

    def _values(self, tenant: Tenant, table: DeploymentTable, now_unix_s: float) -> Array:
        oldest = self.bucket(now_unix_s) - BUCKETS
        counts = Counter(tenant.shared)
        for bucket, own in tenant.own.items():
            if bucket > oldest:
                counts.update(own)
        total = sum(counts.values()) + PRIOR
        shares = np.array([counts[model] / total for model in table.models])[table.model_of]
        return 1.0 - shares if self._spreads else shares
