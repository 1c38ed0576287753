"""Calls are admitted by their metadata, before a byte of their message is read; what needs no key costs little."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb
from lumni.classifier.v1 import classifier_pb2_grpc as pb_grpc

from services.chassis import errors, rpc
from services.chassis.config import Secrets
from services.chassis.rpc import keyless, receiving

NAME = "lumni.classifier.v1.ClassifierService"
CLASSIFY = f"/{NAME}/Classify"
KEY = (("authorization", "right"),)
MIB = 2**20
PLAIN = rpc.Settings()


class Counting(pb_grpc.ClassifierServiceServicer):
    """Counts its calls, which end when the gate opens."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def Classify(self, request: pb.ClassifyRequest, context: object) -> pb.ClassifyResponse:
        self.calls += 1
        await self.gate.wait()
        return pb.ClassifyResponse()

    async def BatchClassify(
        self, request: pb.BatchClassifyRequest, context: object
    ) -> pb.BatchClassifyResponse:
        return pb.BatchClassifyResponse()

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        return pb.EmbedResponse()

    async def Shadow(self, request: pb.ShadowRequest, context: object) -> pb.ShadowResponse:
        return pb.ShadowResponse()


async def admit(metadata: rpc.Metadata) -> str:
    given = {name: str(value) for name, value in metadata}
    if "right" not in given.values():
        raise errors.Unauthenticated("no key")
    return given.get("tenant", "")


@asynccontextmanager
async def served(
    servicer: Counting, settings: rpc.Settings = PLAIN, *, public: bool = True
) -> AsyncIterator[Any]:
    service = rpc.Service(NAME, pb_grpc.add_ClassifierServiceServicer_to_server, servicer)
    async with rpc.serve("127.0.0.1:0", settings, [service], admit=admit if public else None) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel


async def never() -> AsyncIterator[bytes]:
    """A message that does not come."""
    await asyncio.Event().wait()
    yield b""


async def nothing() -> AsyncIterator[bytes]:
    """No message at all."""
    for one in list[bytes]():
        yield one


async def code(call: Any) -> grpc.StatusCode:
    """How a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


@pytest.mark.parametrize("public", [True, False])
async def test_a_call_without_its_key_or_token_is_refused_before_its_message_came(public: bool) -> None:
    servicer = Counting()
    async with served(servicer, rpc.Settings(token=Secrets("t")), public=public) as channel:
        sending = channel.stream_unary(CLASSIFY)(never(), timeout=60)
        assert grpc.StatusCode.UNAUTHENTICATED is await code(sending)

    assert 0 == servicer.calls


async def test_a_message_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "READ_S", 0.05)
    async with served(Counting()) as channel:
        sending = channel.stream_unary(CLASSIFY)(never(), metadata=KEY, timeout=60)
        with pytest.raises(grpc.aio.AioRpcError, match="did not arrive in time"):
            await sending


async def test_what_cannot_be_decoded_is_the_callers_mistake_and_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    servicer = Counting()
    async with served(servicer) as channel:
        caplog.set_level(logging.DEBUG)
        for message in (b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\x0a\xff" * 1000):
            caplog.clear()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(CLASSIFY)(message, metadata=KEY, timeout=60)
            assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()
            assert "cannot be decoded" in (caught.value.details() or "")
            ours = [record for record in caplog.records if record.levelno >= logging.INFO]
            assert [f"{CLASSIFY[1:]} INVALID_ARGUMENT"] == [record.getMessage() for record in ours]
            assert not any(record.exc_info for record in caplog.records)
        empty = channel.stream_unary(CLASSIFY)(nothing(), metadata=KEY, timeout=60)
        assert grpc.StatusCode.INVALID_ARGUMENT is await code(empty)

    assert 0 == servicer.calls


async def test_a_callers_message_is_at_most_as_long_as_a_body(caplog: pytest.LogCaptureFixture) -> None:
    servicer = Counting()
    long = pb.ClassifyRequest(messages=[chat_pb2.Message(text="a" * 16 * MIB)]).SerializeToString()
    async with served(servicer) as channel:
        call = channel.unary_unary(CLASSIFY)(long, metadata=KEY, timeout=20)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED is await code(call)
        await channel.unary_unary(CLASSIFY)(b"", metadata=KEY, timeout=60)

    assert 1 == servicer.calls
    assert not any(record.exc_info for record in caplog.records)


async def test_calls_beyond_the_most_at_a_time_are_refused_and_the_others_go_on() -> None:
    servicer = Counting()
    servicer.gate.clear()
    async with served(servicer, rpc.Settings(max_calls=2)) as channel:
        classify = channel.unary_unary(CLASSIFY)
        first = [asyncio.ensure_future(_done(classify(b"", metadata=KEY, timeout=10))) for _ in range(2)]
        while servicer.calls < 2:
            await asyncio.sleep(0.01)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED is await code(classify(b"", metadata=KEY, timeout=60))
        servicer.gate.set()
        await asyncio.gather(*first)
        await classify(b"", metadata=KEY, timeout=60)

    assert 3 == servicer.calls


async def _done(call: Any) -> None:
    await call


async def test_a_stranger_learns_of_health_without_a_message_being_read() -> None:
    async with served(Counting()) as channel:
        check = channel.stream_unary(
            "/grpc.health.v1.Health/Check",
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = await check(never(), timeout=60)
        assert health_pb2.HealthCheckResponse.SERVING == answer.status

        checks: Any = health_pb2_grpc.HealthStub(channel)
        answer = await checks.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=60)
        assert health_pb2.HealthCheckResponse.SERVING == answer.status
        states = checks.Watch(health_pb2.HealthCheckRequest(service=NAME), timeout=60)
        assert health_pb2.HealthCheckResponse.SERVING == (await anext(aiter(states))).status
        states.cancel()


async def test_watchers_of_health_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyless, "WATCHERS", 1)
    async with served(Counting()) as channel:
        checks: Any = health_pb2_grpc.HealthStub(channel)
        first = checks.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        await anext(aiter(first))
        second = checks.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        with pytest.raises(grpc.aio.AioRpcError, match="too many watch"):
            await anext(aiter(second))
        first.cancel()


async def test_reflection_is_for_few_at_a_time_and_for_a_short_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyless, "REFLECTIONS", 1)
    monkeypatch.setattr(keyless, "REFLECTION_S", 60)
    async with served(Counting()) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        first = stub.ServerReflectionInfo(timeout=60)
        await first.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {service.name for service in (await first.read()).list_services_response.service}
        assert NAME in names
        with pytest.raises(grpc.aio.AioRpcError, match="reflection is busy"):
            await stub.ServerReflectionInfo(timeout=60).read()
        await first.done_writing()
        assert grpc.aio.EOF is await first.read()

        monkeypatch.setattr(keyless, "REFLECTION_S", 0.01)
        with pytest.raises(grpc.aio.AioRpcError, match="took too long"):
            await stub.ServerReflectionInfo(timeout=60).read()
