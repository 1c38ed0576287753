"""Pictures that a provider cannot fetch for itself: fetched here, by a client that reaches public addresses only.

Providers in OpenAI's format take the address and fetch it themselves. For the others LiteLLM would fetch whatever
address it is given, from inside our network; so they get the picture's bytes, and LiteLLM never sees an address.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import aiohttp
from yarl import URL

from services.chassis.byte_budget import ByteBudget, Lease
from services.executor.engines.image_parts import parsed, refused, remote, replaced, shown
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.public_addresses import PublicResolver, Resolve

LARGEST = 20 * 1024 * 1024
# Of all pictures of one call, in bytes: they are held in memory, and grow by a third on their way.
LARGEST_TOGETHER = 2 * LARGEST
MOST = 16
TIMEOUT_S = 15.0
REDIRECTS = 3
# After so many seconds another call may have given its bytes back.
RETRY_AFTER_S = 1.0
TYPES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"))
# Formats of their own, whose pictures LiteLLM would fetch.
FETCHED_HERE = frozenset(
    ("anthropic", "gemini", "vertex_ai", "bedrock", "ollama", "ollama_chat", "cohere_chat")
)


class Images:
    """A guarded fetcher. Every address a name resolves to must be public, and the one that was checked is dialled.

    Args:
        resolve: Gives the addresses of a name.
        is_allowed: Whether an address may be dialled.
        held_together: Of all pictures of all calls, in bytes as fetched; with its base64 text and the provider's
            payload a picture takes up to four times as much memory.

    """

    def __init__(
        self,
        resolve: Resolve | None = None,
        is_allowed: Callable[[str], bool] | None = None,
        *,
        held_together: int = 2**27,
    ) -> None:
        self._resolver = PublicResolver(resolve, is_allowed)
        self._budget = ByteBudget(held_together)
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    def lease(self) -> AbstractContextManager[Lease]:
        """The memory that one call's pictures take, given back when the block ends."""
        return self._budget.lease()

    async def inlined(self, body: Mapping[str, Any], lease: Lease) -> Mapping[str, Any]:
        """The body with every remote picture replaced by its bytes; the same body when there is none.

        Args:
            body: The caller's.
            lease: Takes the pictures' bytes; held by whoever holds the body.

        Raises:
            Failed: an address that may not be fetched, or that gives no picture, the caller's mistake; or so many
                pictures in all calls that there is no memory for another.

        """
        wanted = remote(body)
        if not wanted:
            return body
        if len(wanted) > MOST:
            raise refused("messages", f"more than {MOST} remote pictures")
        tasks = [asyncio.create_task(self._fetch(url, field, lease)) for url, field in wanted.items()]
        try:
            fetched = await asyncio.gather(*tasks)
        finally:
            # The first failure ends the others, so that none is read, or takes memory, for a call that has failed.
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return replaced(body, dict(zip(wanted, fetched, strict=True)))

    async def _fetch(self, address: str, field: str, lease: Lease) -> str:
        url = parsed(address, field)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._get(url, field, lease)
        except TimeoutError:
            raise refused(field, f"{shown(url)} gave no picture within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise refused(field, f"{shown(url)} cannot be fetched: {_why(error)}") from error

    async def _get(self, url: URL, field: str, lease: Lease) -> str:
        for _ in range(REDIRECTS + 1):
            if not self._resolver.permits(url.host or ""):
                raise refused(field, f"{shown(url)} is no public address")
            async with self._client().get(url, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308):
                    location = response.headers.get("location", "")
                    url = parsed(str(url.join(URL(location))), field)
                    continue
                if response.status != 200:
                    raise refused(field, f"{shown(url)} answered {response.status}")
                if response.content_type not in TYPES:
                    raise refused(field, f"{shown(url)} is {response.content_type}, no picture")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise refused(field, f"{shown(url)} is compressed, which was not asked for")
                data = bytearray()
                async for more in response.content.iter_any():
                    if not lease.take(len(more)):
                        raise Failed(
                            ErrorClass.BUSY,
                            "too many pictures are being sent at once; try again, or send fewer",
                            retry_after_s=RETRY_AFTER_S,
                        )
                    data += more
                    if len(data) > LARGEST:
                        raise refused(field, f"{shown(url)} is larger than {LARGEST // 2**20} MiB")
                    if lease.held > LARGEST_TOGETHER:
                        raise refused(
                            "messages",
                            f"the pictures are larger than {LARGEST_TOGETHER // 2**20} MiB together",
                        )
                return f"data:{response.content_type};base64,{base64.b64encode(data).decode()}"
        raise refused(field, f"{shown(url)} redirects too often")

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, limit=32),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Nothing is decompressed, so that what is counted is what is held.
                headers={"accept": ", ".join(sorted(TYPES)), "accept-encoding": "identity"},
                auto_decompress=False,
            )
        return self._session


def _why(error: Exception) -> str:
    return str(error.__cause__ or error) if isinstance(error, OSError) else type(error).__name__
