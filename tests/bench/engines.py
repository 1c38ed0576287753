"""CPU of both engines for a request and for a chunk, against the simulator in a process of its own.

python -m tests.bench.engines [REQUESTS]

Only this process' CPU time counts, so the provider costs nothing and the machine's other work little.
"""

import asyncio
import sys
import time
from contextlib import aclosing

from services.chassis.operations import Operation
from services.executor.engines.base import Call, Engine
from services.executor.engines.direct import DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.prepare import Preparer
from services.executor.engines.proxies import Proxies
from services.executor.formats.factory import response_format
from tests.executor.fleet import deployment
from tests.simulator import Simulator, spawned

FORMATS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
AT_ONCE = 16
CHUNKS = 200
BODY = {
    "messages": [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "What is the weather in Paris and in Rome today?"},
    ],
    "temperature": 0.2,
    "max_tokens": 400,
}


async def _one(engine: Engine, call: Call) -> int:
    answer = response_format(Operation.CHAT, "public", call.body)
    texts = 0
    async with aclosing(engine.call(call)) as pieces:
        async for piece in pieces:
            texts += len(answer.chunk(piece)) if call.stream else bool(answer.whole(piece))
    return texts


async def _cpu_ms(engine: Engine, call: Call, requests: int) -> tuple[float, int]:
    """CPU milliseconds of `requests` calls, and how many texts came of them."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one() -> int:
        async with at_once:
            return await _one(engine, call)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    began = time.process_time()
    texts = sum(await asyncio.gather(*(one() for _ in range(requests))))
    return (time.process_time() - began) * 1000, texts


def _call(simulator: Simulator, provider: str, model: str, *, stream: bool) -> Call:
    name = f"{model}-sim-tokens-{CHUNKS}" if stream else model
    there = deployment(simulator.url, provider, name)
    return Call(there, "sk-x", Operation.CHAT, BODY, stream=stream, timeout_s=60)


async def main(requests: int) -> None:
    """Measure and print."""
    preparer = Preparer({})
    litellm_engine = LiteLLMEngine(Proxies(), preparer)
    direct_engine = DirectEngine(Proxies(), preparer, litellm_engine)
    print("| format | engine | CPU ms a request | CPU ms a streamed chunk |\n| --- | --- | --- | --- |")
    async with spawned() as simulator:
        for provider, model in FORMATS.items():
            for engine in (direct_engine, litellm_engine):
                few = requests if engine is direct_engine else requests // 4
                whole, _ = await _cpu_ms(engine, _call(simulator, provider, model, stream=False), few)
                streams = max(AT_ONCE, few // 20)
                streamed, chunks = await _cpu_ms(
                    engine, _call(simulator, provider, model, stream=True), streams
                )
                print(
                    f"| {provider} | {engine.name} | {whole / few:.2f} | {streamed / chunks:.3f} |",
                    flush=True,
                )
    await direct_engine.aclose()
    await litellm_engine.aclose()
    await preparer.aclose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
