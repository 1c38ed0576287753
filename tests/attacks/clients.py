"""Honest clients in a process of their own, so that no attacker's work delays their clocks.

`running` starts the process; it sends until it is asked for what it saw.
"""

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from tests.attacks.target import Target

CLIENTS = 5
# Between two requests of a client, in seconds: modest.
PAUSE_S = 0.2
# A request without an answer by then has failed.
PATIENCE_S = 30


@dataclass(frozen=True)
class Request:
    """One request of an honest client: when it began by the monotonic clock, how long it took, how it ended."""

    began: float
    took_ms: float
    ending: str

    @property
    def failed(self) -> bool:
        """Whether it got no whole answer."""
        return self.ending != "200"


def p99(requests: Sequence[Request]) -> float:
    """The 99th percentile of what they took, in milliseconds."""
    return statistics.quantiles([one.took_ms for one in requests], n=100)[98] if len(requests) > 1 else 0.0


class Clients:
    """The process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def finish(self) -> list[Request]:
        """End, and say what became of every request."""
        # Nothing more to say closes its input, which ends it.
        seen, _ = await asyncio.wait_for(self._process.communicate(b""), 2 * PATIENCE_S)
        return [Request(*row) for row in json.loads(seen)]


@asynccontextmanager
async def running(target: Target) -> AsyncIterator[Clients]:
    """Five clients of five organizations until the block ends; it begins when the first has its answer."""
    keys = [await target.make_key(f"honest-{i}", budget_usd=1000) for i in range(CLIENTS)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"rest": target.rest, "keys": keys}).encode() + b"\n")
        await process.stdin.drain()
        await asyncio.wait_for(process.stdout.readline(), 2 * PATIENCE_S)
        yield Clients(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _client(rest: str, key: str, seed: int, seen: list[Request], stop: asyncio.Event) -> None:
    rng = random.Random(seed)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=rest, headers=headers, trust_env=False, timeout=PATIENCE_S) as http:
        while not stop.is_set():
            body = {
                "model": rng.choice(("small", "claude", "gemini")),
                "messages": [{"role": "user", "content": "one two three"}],
                "stream": rng.random() < 0.5,
            }
            began = time.monotonic()
            try:
                answer = await http.post("/v1/chat/completions", json=body)
                cut = body["stream"] and answer.status_code == 200 and "[DONE]" not in answer.text
                ending = "cut" if cut else str(answer.status_code)
            except httpx.HTTPError as error:
                ending = type(error).__name__
            seen.append(Request(began, (time.monotonic() - began) * 1000, ending))
            if len(seen) == 1:
                print("begun", flush=True)
            await asyncio.sleep(rng.uniform(0.5, 1.5) * PAUSE_S)


async def _main() -> None:
    given = json.loads(sys.stdin.readline())
    seen: list[Request] = []
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(sys.stdin.fileno())
        stop.set()

    loop.add_reader(sys.stdin.fileno(), end)
    await asyncio.gather(
        *(_client(given["rest"], key, seed, seen, stop) for seed, key in enumerate(given["keys"]))
    )
    print(json.dumps([[one.began, one.took_ms, one.ending] for one in seen]))


if __name__ == "__main__":
    asyncio.run(_main())
