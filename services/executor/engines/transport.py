"""The HTTP connections of LiteLLM: pooled, by way of a deployment's proxy, and watched.

LiteLLM turns everything that happens on the wire into exceptions of its own. What really happened is noted here,
below it, and that is what the executor goes by.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.executor.engines.base import Phase, Progress

CONNECT_S = 10.0
KEPT = 4096


@dataclass(slots=True)
class Wire:
    """What happened on the wire during one call."""

    proxy: str = ""
    # True for a dry run: everything happens but the sending.
    dry: bool = False
    progress: Progress = field(default_factory=Progress)
    status_code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    # The beginning of it, enough to recognize an error.
    body: bytes = b""
    error: httpx.TransportError | None = None


wire: ContextVar[Wire] = ContextVar("wire")


class Transport(httpx.AsyncBaseTransport):
    """One pool of connections for each proxy in use, and one without."""

    def __init__(self) -> None:
        self._pools: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request by way of the current call's proxy, noting what comes of it."""
        noted = wire.get()
        if noted.dry:
            # What connections need is loaded for the first of them: modules and certificates, a fifth of a second.
            self._pool(noted.proxy)
            raise httpx.ConnectError("a dry run")
        if noted.error is not None:
            # LiteLLM sends again on a fresh connection; a second attempt is the run's to decide and to record.
            raise noted.error
        noted.progress.phase = Phase.CONNECTING
        request.extensions = {**request.extensions, "trace": _noting(noted.progress)}
        try:
            response = await self._pool(noted.proxy).handle_async_request(request)
            noted.status_code = response.status_code
            noted.headers = {name.lower(): value for name, value in response.headers.items()}
            if response.status_code >= 400:
                noted.body = await response.aread()
                return httpx.Response(response.status_code, headers=_plain(response), content=noted.body)
        except httpx.TransportError as error:
            noted.error = error
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Watched(response.stream, noted)
        return response

    async def aclose(self) -> None:
        """Stay open: LiteLLM closes clients of its own, and all of them share these connections."""

    async def shut(self) -> None:
        """Close all pools."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, proxy: str) -> httpx.AsyncHTTPTransport:
        pool = self._pools.get(proxy)
        if pool is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=60)
            pool = httpx.AsyncHTTPTransport(limits=limits, proxy=proxy or None)
            self._pools[proxy] = pool
        return pool


def _noting(progress: Progress) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """Notes when the headers of a request have been written; those of a proxy's CONNECT are not the provider's."""

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_body.started") and info["request"].method != b"CONNECT":
            progress.phase = Phase.SENT

    return trace


def _plain(response: httpx.Response) -> list[tuple[str, str]]:
    # The body is decoded by now, so these two would be wrong.
    return [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in ("content-encoding", "content-length")
    ]


class _Watched(httpx.AsyncByteStream):
    """A response's body that notes how reading it failed."""

    def __init__(self, inner: httpx.AsyncByteStream, noted: Wire) -> None:
        self._inner = inner
        self._noted = noted

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._inner:
                if len(self._noted.body) < KEPT:
                    self._noted.body += part
                yield part
        except httpx.TransportError as error:
            self._noted.error = error
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()
