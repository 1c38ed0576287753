"""Which partition the counters of a caller's limits and budgets are in.

One script checks and reserves them all, so in a cluster they lie in one slot: an organization's with those of its users
and keys, a user's without organization with those of its keys. Several organizations share a partition, so that the
ledger knows the names of all partitions. Outside of a cluster there is one.

A user whose keys belong to several organizations is counted in each of them apart, but only in a cluster.
"""

from collections.abc import Sequence
from zlib import crc32

from services.chassis import redis, redis_keys

__all__ = ["Partitions"]


class Partitions:
    """The partitions of one Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self.names: Sequence[str] = (
            tuple(map(redis_keys.money_partition, range(redis_keys.MONEY_PARTITIONS)))
            if redis.is_cluster(client)
            else (redis_keys.MONEY,)
        )

    def of(self, key_id: str, user_id: str, organization_id: str) -> str:
        """The partition of a key, of its user and its organization, where it has them."""
        if len(self.names) == 1:
            return self.names[0]
        if organization_id:
            whose = f"organization:{organization_id}"
        else:
            whose = f"user:{user_id}" if user_id else f"key:{key_id}"
        return self.names[crc32(whose.encode()) % len(self.names)]
