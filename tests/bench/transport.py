"""How should the gateway talk to classifier and selector? CPU per request of three ways, both sides together.

    .venv/bin/python -m tests.bench.transport

unary     one call a request
adaptive  one batched call in flight; what arrives meanwhile goes in the next (services/chassis/batching.py)
stream    the same batches over one open bidirectional stream, whose writes are serialized
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import psutil
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb

from services.chassis.batching import Batcher

SERVICE = "bench.Classifier"
ANSWER = pb.Classification(tier=pb.TIER_FAST, strong_win_rate=0.3, category=pb.CATEGORY_CHAT, language="en")
REQUEST = pb.ClassifyRequest(
    messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, text="Why is the sky blue? " * 20)]
)
REQUESTS = 4000


def answer(batch: pb.BatchClassifyRequest) -> pb.BatchClassifyResponse:
    return pb.BatchClassifyResponse(
        results=[pb.ClassifyResult(classification=ANSWER) for _ in batch.requests]
    )


async def serve() -> None:
    """The other side, in its own process: prints its port."""

    async def one(request: pb.ClassifyRequest, _: object) -> pb.ClassifyResponse:
        return pb.ClassifyResponse(classification=ANSWER)

    async def many(request: pb.BatchClassifyRequest, _: object) -> pb.BatchClassifyResponse:
        return answer(request)

    async def stream(requests: AsyncIterator[pb.BatchClassifyRequest], _: object) -> AsyncIterator[object]:
        async for request in requests:
            yield answer(request)

    batched = (pb.BatchClassifyRequest.FromString, pb.BatchClassifyResponse.SerializeToString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                SERVICE,
                {
                    "One": grpc.unary_unary_rpc_method_handler(
                        one, pb.ClassifyRequest.FromString, pb.ClassifyResponse.SerializeToString
                    ),
                    "Many": grpc.unary_unary_rpc_method_handler(many, *batched),
                    "Stream": grpc.stream_stream_rpc_method_handler(stream, *batched),
                },
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def measure(
    ask: Callable[[], Awaitable[object]], callers: int, other: psutil.Process
) -> tuple[float, float]:
    """CPU and wall-clock milliseconds of one request."""

    async def caller(count: int) -> None:
        for _ in range(count):
            await ask()

    await asyncio.gather(*(caller(50 // callers + 1) for _ in range(callers)))
    before, mine, began = other.cpu_times(), time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(REQUESTS // callers) for _ in range(callers)))
    wall, own, after = time.perf_counter() - began, time.process_time() - mine, other.cpu_times()
    theirs = after.user + after.system - before.user - before.system
    done = REQUESTS // callers * callers
    return (own + theirs) / done * 1000, wall / (REQUESTS // callers) * 1000


async def main() -> None:
    child = subprocess.Popen([sys.executable, "-m", "tests.bench.transport", "serve"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            batched = (pb.BatchClassifyRequest.SerializeToString, pb.BatchClassifyResponse.FromString)
            one = channel.unary_unary(
                f"/{SERVICE}/One", pb.ClassifyRequest.SerializeToString, pb.ClassifyResponse.FromString
            )
            many = channel.unary_unary(f"/{SERVICE}/Many", *batched)
            stream = channel.stream_stream(f"/{SERVICE}/Stream", *batched)()

            async def send_call(batch: Sequence[pb.ClassifyRequest]) -> Sequence[pb.ClassifyResult]:
                return (await many(pb.BatchClassifyRequest(requests=batch), timeout=5)).results

            async def send_stream(batch: Sequence[pb.ClassifyRequest]) -> Sequence[pb.ClassifyResult]:
                await stream.write(pb.BatchClassifyRequest(requests=batch))
                response: Any = await stream.read()
                results: Sequence[pb.ClassifyResult] = response.results
                return results

            adaptive: Batcher[pb.ClassifyRequest, pb.ClassifyResult] = Batcher(send_call)
            streamed: Batcher[pb.ClassifyRequest, pb.ClassifyResult] = Batcher(send_stream)
            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "unary": lambda: one(REQUEST, timeout=5),
                "adaptive": lambda: adaptive(REQUEST),
                "stream": lambda: streamed(REQUEST),
            }
            other = psutil.Process(child.pid)
            print("| way | callers | CPU ms a request | ms to an answer |\n| --- | --- | --- | --- |")
            for callers in (1, 16, 64):
                for name, ask in ways.items():
                    cpu, wall = await measure(ask, callers, other)
                    print(f"| {name} | {callers} | {cpu:.3f} | {wall:.2f} |", flush=True)
            stream.cancel()
    finally:
        child.terminate()
        child.wait(10)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    asyncio.run(serve() if sys.argv[1:] == ["serve"] else main())
