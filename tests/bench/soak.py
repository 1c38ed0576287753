"""Memory of an executor over many requests: answers, streams, faults and callers who leave.

python -m tests.bench.soak [REQUESTS]

The executor is a process of its own; its resident set is read every so many requests. The first third warms it up;
the slope is a straight line through the rest.
"""

import asyncio
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import psutil
import yaml
from lumni.executor.v1 import executor_pb2 as pb
from lumni.executor.v1 import executor_pb2_grpc

from services.local.server import started
from services.local.valkey import Valkey
from tests.executor.service import KEY, Caller, deployments
from tests.simulator import spawned

MODELS = {"openai": "openai/m", "anthropic": "anthropic/claude-m", "gemini": "gemini/gemini-m"}
WORDS = ("tokens-16", "tokens-60", "tokens-100-drip-5", "500", "429-retry-0.01", "cut-3", "malformed", "drop")
AT_ONCE = 16
READINGS = 60


@asynccontextmanager
async def _executor(
    folder: Path, simulator_url: str, redis_url: str
) -> AsyncIterator[tuple[Caller, psutil.Process]]:
    models = [
        (f"{name}-{words}", f"{model}-sim-{words}") for name, model in MODELS.items() for words in WORDS
    ]
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump(deployments(simulator_url, models)))
    target = f"unix:{folder / 'executor.sock'}"
    environ = os.environ | {
        "LUMNI_LISTEN": target,
        "LUMNI_CONFIG_DIR": str(folder),
        "LUMNI_STATE_DIR": str(folder / "state"),
        "LUMNI_LOG_LEVEL": "ERROR",
        "REDIS_URL": redis_url,
        "SIM_KEY": KEY,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.executor", env=environ)
    try:
        async with grpc.aio.insecure_channel(target) as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
            yield (
                Caller(executor_pb2_grpc.ExecutorServiceStub(channel), redis_url),
                psutil.Process(process.pid),
            )
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)


async def _call(caller: Caller, chance: random.Random) -> None:
    """One call of any kind; one in ten hangs up."""
    named = [f"{chance.choice(list(MODELS))}-{chance.choice(WORDS)}" for _ in range(2)]
    request = caller.request(*named, max_tokens=200)
    leaves_after_s = chance.uniform(0.005, 0.1) if chance.random() < 0.1 else None
    try:
        async with asyncio.timeout(leaves_after_s):
            if chance.random() < 0.5:
                await caller.stub.Execute(request, timeout=30)
                return
            async for _ in caller.stub.StreamExecute(pb.StreamExecuteRequest(execute=request), timeout=30):
                pass
    except (TimeoutError, grpc.aio.AioRpcError):
        pass


async def main(requests: int) -> None:
    """Measure and print."""
    chance, at_once = random.Random(1), asyncio.Semaphore(AT_ONCE)
    readings: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            started(Valkey(folder / "valkey", settings={"appendonly": "no"})) as valkey,
            spawned() as simulator,
            _executor(folder, simulator.url, valkey.url) as (caller, process),
        ):
            done = 0

            async def one() -> None:
                async with at_once:
                    await _call(caller, chance)

            while done < requests:
                size = max(1, requests // READINGS)
                await asyncio.gather(*(one() for _ in range(size)))
                done += size
                readings.append((done, process.memory_info().rss / 2**20))
                print(f"{done:7d} requests {readings[-1][1]:7.1f} MiB", flush=True)
            cpu = process.cpu_times()
            print(f"CPU {1000 * (cpu.user + cpu.system) / done:.2f} ms a request")
    steady = np.array(readings[len(readings) // 3 :])
    slope = np.polyfit(steady[:, 0], steady[:, 1], 1)[0]
    print(
        f"slope {slope * 10_000:.2f} MiB for 10,000 requests; from {steady[0, 1]:.1f} to {steady[-1, 1]:.1f} MiB"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30_000))
