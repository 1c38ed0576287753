"""Which models each tenant's recent requests were sent to, counted by all replicas together, so that load spreads."""

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field

import numpy as np

from services.selector.models.deployment_table import Array, DeploymentTable

# A window is counted in so many buckets; the oldest is dropped whole.
BUCKETS = 6
# A few requests say little: shares are taken as if there had been this many more.
PRIOR = 10.0
# Tenants remembered, of some KiB each: the one whose last request is the oldest makes room.
MOST_TENANTS = 10_000


@dataclass
class Tenant:
    """One tenant's counts by model: as published by all replicas, and by bucket what this one adds to that."""

    published: Counter[str] = field(default_factory=Counter)
    unpublished: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    # The latest request here, and the latest exchange with the other replicas.
    used_unix_s: float = 0.0
    exchanged_unix_s: float = 0.0
    # The shares as of one second, so that they are not computed for each request.
    shares: tuple[int, Array] | None = None


class RecentUsage:
    """Recent usage of all tenants with requests within the window."""

    def __init__(self, window_s: int, *, spreads: bool) -> None:
        """Count over a window in seconds; usage is spread over models, or else kept together."""
        # By name, the one whose last request is the oldest first.
        self.tenants: OrderedDict[str, Tenant] = OrderedDict()
        self.window_s = window_s
        self._spreads = spreads
        # The bucket in which old counts were last dropped.
        self._cleaned = -1

    def follow(self, window_s: int, *, spreads: bool) -> None:
        """Go by a configuration; what was counted by another one is forgotten."""
        if (window_s, spreads) != (self.window_s, self._spreads):
            self.tenants.clear()
            self.window_s, self._spreads, self._cleaned = window_s, spreads, -1

    def bucket(self, now_unix_s: float) -> int:
        """The number of the bucket that a moment lies in."""
        return int(now_unix_s // (self.window_s / BUCKETS))

    def observe(self, name: str, model: str, now_unix_s: float) -> None:
        """Count that a model was selected first."""
        bucket = self.bucket(now_unix_s)
        if bucket != self._cleaned:
            self._cleaned = bucket
            self.forget(now_unix_s)
        tenant = self.tenants.setdefault(name, Tenant())
        self.tenants.move_to_end(name)
        if len(self.tenants) > MOST_TENANTS:
            self.tenants.popitem(last=False)
        tenant.unpublished[bucket][model] += 1
        tenant.used_unix_s = now_unix_s

    def values(self, name: str, table: DeploymentTable, now_unix_s: float) -> Array | float:
        """How little the tenant used each deployment's model, 0 to 1; how much, when usage is to be kept together."""
        shares = self.shares(name, table, now_unix_s)
        if shares is None:
            return 1.0 if self._spreads else 0.0
        return wished(shares, spreads=self._spreads)[table.model_of]

    def shares(self, name: str, table: DeploymentTable, now_unix_s: float) -> Array | None:
        """The share of each model of the table in the tenant's recent requests; None where it had none."""
        tenant = self.tenants.get(name)
        if tenant is None:
            return None
        second = int(now_unix_s)
        if tenant.shares is None or tenant.shares[0] != second or len(tenant.shares[1]) != len(table.models):
            tenant.shares = (second, self._shares(tenant, table, now_unix_s))
        return tenant.shares[1]

    def forget(self, now_unix_s: float) -> None:
        """Drop tenants without a request for a window, and buckets that are out of it."""
        oldest = self.bucket(now_unix_s) - BUCKETS
        for name, tenant in list(self.tenants.items()):
            if tenant.used_unix_s < now_unix_s - self.window_s:
                del self.tenants[name]
                continue
            for bucket in [bucket for bucket in tenant.unpublished if bucket <= oldest]:
                del tenant.unpublished[bucket]

    def _shares(self, tenant: Tenant, table: DeploymentTable, now_unix_s: float) -> Array:
        oldest = self.bucket(now_unix_s) - BUCKETS
        counts = Counter(tenant.published)
        for bucket, counted in tenant.unpublished.items():
            if bucket > oldest:
                counts.update(counted)
        total = sum(counts.values()) + PRIOR
        return np.array([counts[model] / total for model in table.models])


def wished(shares: Array, *, spreads: bool) -> Array:
    """What shares of recent usage are worth, 0 to 1: the less the better where load is to be spread."""
    return 1.0 - shares if spreads else shares
