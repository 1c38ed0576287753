"""The primary among Redis servers that Sentinel watches, behind the interface of one server."""

from copy import copy
from typing import Any

import redis.asyncio as redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from services.chassis.redis_address import Address
from services.chassis.redis_connections import bound

__all__ = ["Sentinels", "Watched"]


class Sentinels(Sentinel):
    """Sentinels that several connections may ask at once."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """The host and port of the primary, by the first sentinel that knows it, which is asked first from then on.

        Raises:
            MasterNotFoundError: none knows it.
        """
        # redis-py exchanges two places of its list after it has waited: of two at once, one would overwrite what the
        # other has moved, and that sentinel would be asked no more. So each has a list of its own.
        asked = copy(self)
        asked.sentinels = [*self.sentinels]
        host, port = await super(Sentinels, asked).discover_master(service_name)
        self.sentinels = asked.sentinels
        return host, port


class Watched(redis.Redis):
    """A client of whichever server the sentinels call the primary; asked anew with each connection.

    A server that was demoted refuses writes: its connection is closed then, and the next one is to the new primary.
    """

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        """Ask the sentinels of `address`; `options` are those of a single server's client."""
        self._sentinels = Sentinels([])  # type: ignore[no-untyped-call]
        self._sentinels.sentinels = [
            redis.from_url(address.sentinel_url_of(node), **options) for node in address.nodes
        ]
        given: dict[str, Any] = {**options, **parse_url(address.url_of(address.nodes[0]))}
        for name in ("host", "port", "connection_class"):
            given.pop(name, None)
        pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
            address.service, self._sentinels, ssl=address.url.startswith("rediss"), **given
        )
        bound(pool)
        super().__init__(connection_pool=pool)
        # The pool is this client's own.
        self.auto_close_connection_pool = True

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections to the primary and the sentinels."""
        await super().aclose(close_connection_pool)
        await self._sentinels.aclose()
