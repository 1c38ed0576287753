"""Pictures that a provider cannot fetch for itself: fetched here, by a client that reaches public addresses only.

Providers in OpenAI's format take the address and fetch it themselves. For the others LiteLLM would fetch whatever
address it is given, from inside our network; so they get the picture's bytes, and LiteLLM never sees an address.
"""

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.executor.engines.outcomes import ErrorClass, Failed

LARGEST = 20 * 1024 * 1024
# Of all pictures of one call, in bytes: they are held in memory, and grow by a third on their way.
LARGEST_TOGETHER = 2 * LARGEST
MOST = 16
TIMEOUT_S = 15.0
REDIRECTS = 3
# A gateway of the network's may turn these into any IPv4 address, a private one too.
TRANSLATED = [ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")]
TYPES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"))
# Formats of their own, whose pictures LiteLLM would fetch.
FETCHED_HERE = frozenset(
    ("anthropic", "gemini", "vertex_ai", "bedrock", "ollama", "ollama_chat", "cohere_chat")
)

Resolve = Callable[[str], Awaitable[list[str]]]


class Images:
    """A guarded fetcher. Every address a name resolves to must be public, and the one that was checked is dialled."""

    def __init__(
        self, resolve: Resolve | None = None, is_allowed: Callable[[str], bool] | None = None
    ) -> None:
        self._resolver = _Guard(resolve or _resolve, is_allowed or is_public)
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    async def inlined(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body with every remote picture replaced by its bytes; the same body when there is none.

        Raises:
            Failed: an address that may not be fetched, or that gives no picture; the caller's mistake.

        """
        messages = body.get("messages")
        if not isinstance(messages, list):
            return body
        wanted = {url for message in messages for part in _parts(message) for url in _remote(part)}
        if not wanted:
            return body
        if len(wanted) > MOST:
            raise _refused(f"more than {MOST} remote pictures")
        urls, allowance = sorted(wanted), _Allowance()
        fetched = dict(
            zip(urls, await asyncio.gather(*(self._fetch(url, allowance) for url in urls)), strict=True)
        )
        return {**body, "messages": [_with(message, fetched) for message in messages]}

    async def _fetch(self, url: str, allowance: "_Allowance") -> str:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._get(url, allowance)
        except TimeoutError:
            raise _refused(f"{_shown(url)}: gave no picture within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _refused(f"{_shown(url)}: cannot be fetched: {_why(error)}") from error

    async def _get(self, url: str, allowance: "_Allowance") -> str:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, limit=32),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"accept": ", ".join(sorted(TYPES))},
            )
        for _ in range(REDIRECTS + 1):
            self._resolver.check(URL(url))
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308):
                    url = str(URL(url).join(URL(response.headers.get("location", ""))))
                    continue
                if response.status != 200:
                    raise _refused(f"{_shown(url)}: answered {response.status}")
                if response.content_type not in TYPES:
                    raise _refused(f"{_shown(url)}: is {response.content_type}, no picture")
                data = bytearray()
                async for more in response.content.iter_any():
                    data += more
                    allowance.left -= len(more)
                    if len(data) > LARGEST:
                        raise _refused(f"{_shown(url)}: is larger than {LARGEST // 2**20} MiB")
                    if allowance.left < 0:
                        raise _refused(
                            f"the pictures are larger than {LARGEST_TOGETHER // 2**20} MiB together"
                        )
                return f"data:{response.content_type};base64,{base64.b64encode(data).decode()}"
        raise _refused(f"{_shown(url)}: redirects too often")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, wrapped forms of others included."""
    found = ip_address(address)
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    if inner is not None:
        return bool(inner.is_global)
    if any(found in network for network in TRANSLATED):
        return False
    return found.is_global and not found.is_multicast


@dataclass(slots=True)
class _Allowance:
    """What the pictures of one call may still take, in bytes."""

    left: int = LARGEST_TOGETHER


class _Guard(AbstractResolver):
    """A resolver that gives public addresses only, so that no name can lead inside."""

    def __init__(self, resolve: Resolve, is_allowed: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed

    def check(self, url: URL) -> None:
        """Refuse what is not http(s), and addresses written out as numbers, which need no resolving."""
        if url.scheme not in ("http", "https") or not url.host or url.user:
            raise _refused("only http and https addresses of pictures are fetched")
        try:
            literal = ip_address(url.host)
        except ValueError:
            return
        if not self._is_allowed(str(literal)):
            raise _refused(f"{_shown(str(url))}: is no public address")

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


# Where a message holds parts: its content, and the pictures that an assistant drew.
_HOLDERS = ("content", "images")
_KINDS = ("image_url", "file", "video_url")
# Where a part holds an address, in any of which LiteLLM would look.
_ADDRESSES = ("url", "file_data", "file_id")


def _parts(message: Any) -> list[Any]:
    if not isinstance(message, Mapping):
        return []
    return [part for name in _HOLDERS if isinstance(parts := message.get(name), list) for part in parts]


def _remote(part: Any) -> list[str]:
    """The addresses in a part that is a remote picture or file; none in any other."""
    if not isinstance(part, Mapping) or part.get("type") not in _KINDS:
        return []
    held = part.get(str(part["type"]))
    given = [held.get(name) for name in _ADDRESSES] if isinstance(held, Mapping) else [held]
    return [url for url in given if isinstance(url, str) and "://" in url and not url.startswith("data:")]


def _with(message: Any, fetched: Mapping[str, str]) -> Any:
    if not _parts(message):
        return message
    held = {name: message[name] for name in _HOLDERS if isinstance(message.get(name), list)}
    return {**message, **{name: [_inline(part, fetched) for part in parts] for name, parts in held.items()}}


def _inline(part: Any, fetched: Mapping[str, str]) -> Any:
    urls = _remote(part)
    if not urls:
        return part
    kind = str(part["type"])
    held = part[kind] if isinstance(part[kind], Mapping) else {}
    kept = {name: value for name, value in held.items() if name not in _ADDRESSES}
    return {**part, kind: {**kept, "file_data" if kind == "file" else "url": fetched[urls[0]]}}


def _refused(why: str) -> Failed:
    return Failed(ErrorClass.BAD_REQUEST, f"messages: {why}", param="messages")


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    found = URL(url)
    return str(found.with_query(None).with_fragment(None).with_user(None))[:200]


def _why(error: Exception) -> str:
    return str(error.__cause__ or error) if isinstance(error, OSError) else type(error).__name__
