"""Large, unreadable and endless messages to the gateway's gRPC port, by callers without a key.

python -m tests.attacks.unauthenticated_grpc
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.attacks import target as targets
from tests.attacks.target import Target

NAME = "unauthenticated gRPC calls"
PARALLEL = 32
MIB = 2**20
LARGE_MIB = 30
# What refusing so many large messages may cost the gateway: connections and their windows, not the messages.
MOST_MIB = 150
METHODS = (
    "/lumni.gateway.v1.GatewayService/Complete",
    "/lumni.gateway.v1.GatewayService/StreamComplete",
    "/lumni.gateway.v1.GatewayService/Ask",
    "/lumni.gateway.v1.KeyService/CreateKey",
)
HEALTH = "/grpc.health.v1.Health/Check"


def resident_mib(pid: int) -> float:
    """What a process holds in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(pid)


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Send them until the time is over."""
    before = most = resident_mib(target.pids["gateway-0"])
    large = bytes(LARGE_MIB * MIB)
    ends = asyncio.get_running_loop().time() + seconds
    refused = 0
    while True:
        calls = [
            asyncio.create_task(_send(target.grpc, METHODS[i % len(METHODS)], large)) for i in range(PARALLEL)
        ]
        calls += [asyncio.create_task(_send(target.grpc, HEALTH, large)) for _ in range(4)]
        while not all(call.done() for call in calls):
            most = max(most, resident_mib(target.pids["gateway-0"]))
            await asyncio.sleep(0.02)
        codes = [call.result() for call in calls]
        assert {grpc.StatusCode.UNAUTHENTICATED} == set(codes[:PARALLEL]), codes
        refused += PARALLEL
        if asyncio.get_running_loop().time() > ends:
            break
    assert most - before <= MOST_MIB, f"memory grew from {before:.0f} to {most:.0f} MiB"
    undecodable = [await _send(target.grpc, METHODS[0], b"\xff" * 100, target.key) for _ in range(20)]
    assert {grpc.StatusCode.INVALID_ARGUMENT} == set(undecodable), undecodable
    long = await _send(target.grpc, METHODS[0], large, target.key)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is long, long
    endless = [_endless(target.grpc, method) for method in METHODS]
    assert {grpc.StatusCode.UNAUTHENTICATED} == set(await asyncio.gather(*endless))
    busy = await asyncio.gather(*(_reflect(target.grpc, large) for _ in range(PARALLEL)))
    most = max(most, resident_mib(target.pids["gateway-0"]))
    assert most - before <= MOST_MIB, f"memory grew from {before:.0f} to {most:.0f} MiB"
    return [
        (
            f"{refused} calls of {LARGE_MIB} MiB without a key, {PARALLEL} at a time, were refused unread; the gateway's "
            f"memory went from {before:.0f} to at most {most:.0f} MiB"
        ),
        "messages that cannot be decoded are INVALID_ARGUMENT, and those beyond 16 MiB RESOURCE_EXHAUSTED",
        "a caller without a key is refused while his message still comes",
        f"{len(busy)} large calls of reflection at a time were refused",
    ]


def _connected(address: str) -> Any:
    """A connection of its own, which sends whatever it is given."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(address, options)


async def _send(address: str, method: str, message: bytes, key: str = "") -> grpc.StatusCode:
    """Send one message on a connection of its own; the status that came."""
    metadata = [("authorization", f"Bearer {key}")] if key else []
    async with _connected(address) as channel:
        call = channel.unary_unary(method)(message, timeout=30, metadata=metadata)
        return cast("grpc.StatusCode", await call.code())


async def _endless(address: str, method: str) -> grpc.StatusCode:
    """Begin a call and send nothing; the status that came."""
    async with _connected(address) as channel:
        call = channel.stream_stream(method)(timeout=10)
        return cast("grpc.StatusCode", await call.code())


async def _reflect(address: str, large: bytes) -> None:
    async with _connected(address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

        async def one() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services=large.decode())

        code = await stub.ServerReflectionInfo(one(), timeout=30).code()
        # Who is still sending may meet the end of the stream before its status.
        assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL), code


if __name__ == "__main__":
    targets.alone(NAME, attack)
