"""Which IP addresses belong to the public internet, and a resolver that gives no others."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult

Resolve = Callable[[str], Awaitable[list[str]]]

# Global by the registry, yet not of the public internet.
_REFUSED_V4 = [
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; the metadata server of Oracle's cloud
        "168.63.129.16/32",  # Azure's wire server, in every virtual machine's network
        "192.88.99.0/24",  # 6to4 relays, deprecated
    )
]
# All of IPv6 that is routed on the public internet lies within this.
_UNICAST_V6 = ip_network("2000::/3")
_REFUSED_V6 = [
    ip_network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: any IPv4 address, a private one too
        "3fff::/20",  # documentation
    )
]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet; forms that wrap an IPv4 address do not."""
    found = ip_address(address)
    if isinstance(found, IPv4Address):
        return _is_public_v4(found)
    if found.ipv4_mapped is not None:
        return _is_public_v4(found.ipv4_mapped)
    return _is_public_v6(found)


def _is_public_v4(found: IPv4Address) -> bool:
    return found.is_global and not found.is_multicast and not any(found in network for network in _REFUSED_V4)


def _is_public_v6(found: IPv6Address) -> bool:
    is_unicast = found in _UNICAST_V6 and found.is_global
    return is_unicast and not any(found in network for network in _REFUSED_V6)


class PublicResolver(AbstractResolver):
    """A resolver that gives public addresses only, so that no name can lead inside."""

    def __init__(
        self, resolve: Resolve | None = None, is_allowed: Callable[[str], bool] | None = None
    ) -> None:
        self._resolve = resolve or _resolve
        self._is_allowed = is_allowed or is_public

    def permits(self, host: str) -> bool:
        """Whether a host may be dialled, as far as can be told without resolving it."""
        try:
            literal = ip_address(host)
        except ValueError:
            return True
        return self._is_allowed(str(literal))

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002  (both are given)
    ) -> list[ResolveResult]:
        """The addresses of a name, all of them public or none."""
        addresses = await self._resolve(host)
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise OSError(f"{host} is no public address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def _resolve(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(item[4][0]) for item in found})
