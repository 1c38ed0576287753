"""Start a simulator in a test, and read what it saw."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.simulator.server import listening


class Simulator:
    """A running simulator.

    Args:
        url: Its base address, such as http://127.0.0.1:9000; providers' own bases lie below it (`/v1`).

    """

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self._http = http

    async def counts(self) -> dict[str, Any]:
        """Requests and tokens by model and outcome; see `counts.Counts.shown`."""
        return await self._get("/sim/counts")  # type: ignore[no-any-return]

    async def requests(self, last: int = 100) -> list[dict[str, Any]]:
        """The last requests with headers and bodies, oldest first."""
        return await self._get(f"/sim/requests?last={last}")  # type: ignore[no-any-return]

    async def script(
        self, model: str, queue: Sequence[str] | None = None, *, standing: str | None = None
    ) -> None:
        """Set a model's behaviours (`*`: of any model): one for each next request, then `standing`; "" ends that."""
        given: dict[str, Any] = {"model": model}
        if queue is not None:
            given["queue"] = list(queue)
        if standing is not None:
            given["standing"] = standing
        (await self._http.post("/sim/script", json=given)).raise_for_status()

    async def reset(self) -> None:
        """Forget counts, requests and scripts."""
        (await self._http.post("/sim/reset")).raise_for_status()

    async def until(self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> dict[str, Any]:
        """Wait until the counts are as wanted; fails with the counts when they never are."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not wanted(counts := await self.counts()):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"the simulator's counts never became as wanted: {counts}")
            await asyncio.sleep(0.01)
        return counts

    async def _get(self, path: str) -> Any:
        response = await self._http.get(path)
        response.raise_for_status()
        return response.json()


@asynccontextmanager
async def running() -> AsyncIterator[Simulator]:
    """A simulator on this event loop."""
    async with listening() as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        yield Simulator(url, http)


@asynccontextmanager
async def spawned(keep: int = 1000) -> AsyncIterator[Simulator]:
    """A simulator in a process of its own that keeps so many requests; it ends with this one, however that ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.simulator",
        "--port",
        "0",
        "--keep",
        str(keep),
        "--until-stdin-closes",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            raise OSError("the simulator's process ended while starting")
        url = line.decode().split()[-1]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            yield Simulator(url, http)
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 60)
