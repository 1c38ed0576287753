"""A call within the process is like one over a socket: the same cases run over both kinds of channel."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc
import prometheus_client
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.executor.v1 import executor_pb2 as pb
from lumni.executor.v1 import executor_pb2_grpc as pb_grpc

from services.chassis import errors, rpc, telemetry
from services.chassis.config import Mistakes
from services.chassis.rpc.inproc import AHEAD

NAME = "lumni.executor.v1.ExecutorService"
PLAIN = rpc.Settings()
REQUEST = pb.ExecuteRequest(body_json="{}")
STREAM = pb.StreamExecuteRequest(execute=REQUEST)
caller_side: ContextVar[str] = ContextVar("caller_side", default="")
servicer_side: ContextVar[str] = ContextVar("servicer_side", default="")


class Scripted(pb_grpc.ExecutorServiceServicer):
    """Does what a test puts into it."""

    def __init__(
        self,
        execute: Callable[[pb.ExecuteRequest], Awaitable[pb.ExecuteResponse]] | None = None,
        stream: Callable[[], AsyncIterator[pb.StreamExecuteResponse]] | None = None,
    ) -> None:
        self._execute = execute
        self._stream = stream
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()

    async def Execute(self, request: pb.ExecuteRequest, context: object) -> pb.ExecuteResponse:
        self.arrived.set()
        try:
            assert self._execute is not None
            return await self._execute(request)
        finally:
            self.ended.set()

    async def StreamExecute(
        self, request: pb.StreamExecuteRequest, context: object
    ) -> AsyncIterator[pb.StreamExecuteResponse]:
        self.arrived.set()
        try:
            assert self._stream is not None
            async for response in self._stream():
                yield response
        finally:
            self.ended.set()

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: object
    ) -> pb.ListDeploymentsResponse:
        return pb.ListDeploymentsResponse()


@dataclass
class Connection:
    """A stub, and the channel under it."""

    stub: Any
    channel: grpc.aio.Channel
    # Ends the server; returns when it has drained.
    stop: Callable[[], Awaitable[None]]

    async def execute(self, request: pb.ExecuteRequest = REQUEST, timeout_s: float = 10) -> Any:
        return await rpc.call(self.stub.Execute, request, PLAIN, timeout_s=timeout_s)

    def stream(self, timeout_s: float = 10) -> Any:
        return rpc.stream(self.stub.StreamExecute, STREAM, PLAIN, timeout_s=timeout_s)


Connect = Callable[..., AbstractAsyncContextManager[Connection]]


@pytest.fixture(params=["wire", "inproc"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Serve a servicer, and connect to it over one kind of channel."""

    @asynccontextmanager
    async def connected(servicer: Scripted, settings: rpc.Settings = PLAIN) -> AsyncIterator[Connection]:
        service = rpc.Service(NAME, pb_grpc.add_ExecutorServiceServicer_to_server, servicer)
        async with AsyncExitStack() as server, AsyncExitStack() as client:
            if request.param == "wire":
                target = await server.enter_async_context(rpc.serve("127.0.0.1:0", settings, [service]))
                channel = rpc.connect(target, settings, NAME, repeatable=False)
            else:
                inside = rpc.InProcess()
                target = await server.enter_async_context(
                    rpc.serve(rpc.INPROC, settings, [service], inside=inside)
                )
                channel = rpc.connect(target, settings, NAME, repeatable=False, inside=inside)
            await client.enter_async_context(channel)
            yield Connection(pb_grpc.ExecutorServiceStub(channel), channel, server.aclose)

    return connected


async def answer(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
    return pb.ExecuteResponse(body_json=request.body_json)


async def never(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
    await asyncio.Event().wait()
    return pb.ExecuteResponse()


def chunk(text: str) -> pb.StreamExecuteResponse:
    return pb.StreamExecuteResponse(chunks=pb.Chunks(chunk_json=[text]))


def failing(fault: Exception) -> Callable[[pb.ExecuteRequest], Awaitable[pb.ExecuteResponse]]:
    async def fail(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        raise fault

    return fail


def counted(code: str) -> float:
    labels = {"method": f"{NAME}/Execute", "code": code}
    return prometheus_client.REGISTRY.get_sample_value("lumni_rpc_duration_seconds_count", labels) or 0.0


async def test_a_fault_arrives_as_it_was_raised_with_its_details(connect: Connect) -> None:
    report = pb.Report(cost_nano_usd=7)
    fault = errors.Exhausted(
        "wait", reason="NO_SLOT", param="model", retry_after_s=3, metadata={"limit": "rpm"}, details=(report,)
    )
    async with connect(Scripted(failing(fault))) as connection:
        with pytest.raises(errors.Exhausted) as caught:
            await connection.execute()

    found = caught.value
    assert ("wait", "NO_SLOT", "model", 3, {"limit": "rpm"}) == (
        found.message,
        found.reason,
        found.param,
        found.retry_after_s,
        found.metadata,
    )
    (packed,) = found.details
    arrived = pb.Report()
    assert packed.Unpack(arrived)  # type: ignore[attr-defined]
    assert report == arrived


async def test_a_stub_sees_the_status_that_it_would_see_over_a_socket(connect: Connect) -> None:
    async with connect(Scripted(failing(errors.NotFound("no such model")))) as connection:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await connection.stub.Execute(REQUEST, timeout=10)

    error = caught.value
    assert (grpc.StatusCode.NOT_FOUND, "no such model") == (error.code(), error.details())
    assert "grpc-status-details-bin" in dict(error.trailing_metadata())


async def test_the_text_of_our_own_mistake_does_not_reach_the_caller(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(Scripted(failing(RuntimeError("password=hunter2")))) as connection:
        with pytest.raises(errors.Internal, match=r"^internal error$"):
            await connection.execute()

    assert "hunter2" in caplog.text


async def test_a_call_brings_its_request_id_its_trace_and_its_deadline_and_nothing_else(
    connect: Connect,
) -> None:
    seen: list[tuple[str, str, str]] = []

    async def execute(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        assert 0 < rpc.remaining_s() <= 10
        seen.append((telemetry.request_id.get(), telemetry.trace_id(), caller_side.get()))
        servicer_side.set("here")
        return pb.ExecuteResponse()

    async with connect(Scripted(execute)) as connection:
        with telemetry.server_span("root", ""):
            telemetry.request_id.set("r-1")
            caller_side.set("here")
            await connection.execute()
            assert [("r-1", telemetry.trace_id(), "")] == seen

    assert "" == servicer_side.get()


async def test_the_context_of_a_request_stands_in_for_missing_metadata(connect: Connect) -> None:
    seen: list[str] = []

    async def execute(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        seen.append(telemetry.request_id.get())
        return pb.ExecuteResponse()

    async with connect(Scripted(execute)) as connection:
        context = chat_pb2.RequestContext(request_id="r-2")
        await connection.stub.Execute(pb.ExecuteRequest(context=context), timeout=10)

    assert ["r-2"] == seen


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
async def test_a_call_is_measured_and_logged_once(
    request: pytest.FixtureRequest, connect: Connect, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    caplog.set_level(level)
    before = counted("OK"), counted("INVALID_ARGUMENT")
    async with connect(Scripted(answer)) as connection:
        await connection.execute()
    async with connect(Scripted(failing(errors.Invalid("no")))) as connection:
        with pytest.raises(errors.Invalid):
            await connection.execute()

    assert (before[0] + 1, before[1] + 1) == (counted("OK"), counted("INVALID_ARGUMENT"))
    lines = [record.getMessage() for record in caplog.records if "Execute" in record.getMessage()]
    # Within a process there is a line for the request that the call was made for.
    told = level == logging.DEBUG or "wire" in request.node.callspec.params.values()
    assert [*([f"{NAME}/Execute OK"] if told else []), f"{NAME}/Execute INVALID_ARGUMENT"] == lines


async def test_a_call_that_takes_too_long_ends_at_its_deadline_and_so_does_its_servicer(
    connect: Connect,
) -> None:
    servicer = Scripted(never)
    async with connect(servicer) as connection:
        with pytest.raises(errors.TimedOut):
            await connection.execute(timeout_s=0.1)
        await asyncio.wait_for(servicer.ended.wait(), 60)


async def test_a_servicer_that_ignores_its_deadline_does_not_hold_its_caller(connect: Connect) -> None:
    finish = asyncio.Event()

    async def stubborn(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        while not finish.is_set():
            try:
                await finish.wait()
            except asyncio.CancelledError:
                continue
        return pb.ExecuteResponse()

    async with connect(Scripted(stubborn)) as connection:
        with pytest.raises(errors.TimedOut):
            await connection.execute(timeout_s=0.1)
        assert not finish.is_set()
        finish.set()


async def test_a_caller_who_leaves_cancels_the_servicer(connect: Connect) -> None:
    servicer = Scripted(never)
    before = counted("CANCELLED")
    async with connect(servicer) as connection:
        asking = asyncio.create_task(connection.execute())
        await asyncio.wait_for(servicer.arrived.wait(), 60)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(servicer.ended.wait(), 60)

    assert before + 1 == counted("CANCELLED")


async def test_a_stream_arrives_whole_and_in_order(connect: Connect) -> None:
    async def stream() -> AsyncIterator[pb.StreamExecuteResponse]:
        for number in range(5 * AHEAD):
            yield chunk(str(number))
        yield pb.StreamExecuteResponse(report=pb.Report(cost_nano_usd=1))

    async with connect(Scripted(stream=stream)) as connection:
        *chunks, last = [response async for response in connection.stream()]

    assert [str(number) for number in range(5 * AHEAD)] == [one.chunks.chunk_json[0] for one in chunks]
    assert 1 == last.report.cost_nano_usd


async def test_a_stream_that_fails_delivers_what_was_sent_before(connect: Connect) -> None:
    async def stream() -> AsyncIterator[pb.StreamExecuteResponse]:
        yield chunk("first")
        raise errors.Unavailable("cut", retry_after_s=2)

    received: list[str] = []
    async with connect(Scripted(stream=stream)) as connection:
        with pytest.raises(errors.Unavailable, match="cut") as caught:
            async for response in connection.stream():
                received += response.chunks.chunk_json

    assert (["first"], 2) == (received, caught.value.retry_after_s)


async def test_leaving_a_stream_closes_it_at_the_other_end(connect: Connect) -> None:
    async def stream() -> AsyncIterator[pb.StreamExecuteResponse]:
        while True:
            yield chunk("more")
            await asyncio.sleep(0)

    servicer = Scripted(stream=stream)
    async with connect(servicer) as connection:
        responses = connection.stream()
        await anext(responses)
        await responses.aclose()
        await asyncio.wait_for(servicer.ended.wait(), 60)


async def test_a_stream_ends_at_its_deadline_in_the_middle(connect: Connect) -> None:
    async def stream() -> AsyncIterator[pb.StreamExecuteResponse]:
        yield chunk("first")
        await asyncio.Event().wait()

    async with connect(Scripted(stream=stream)) as connection:
        responses = connection.stream(timeout_s=0.2)
        assert "first" == (await anext(responses)).chunks.chunk_json[0]
        with pytest.raises(errors.TimedOut):
            await anext(responses)


async def test_a_servicer_waits_for_a_caller_who_does_not_read(connect: Connect) -> None:
    total, produced = 400, 0
    text = "x" * 2**18

    async def stream() -> AsyncIterator[pb.StreamExecuteResponse]:
        nonlocal produced
        for _ in range(total):
            produced += 1
            yield chunk(text)

    async with connect(Scripted(answer, stream)) as connection:
        responses = connection.stream(timeout_s=60)
        await anext(responses)
        # Other calls go on meanwhile, and give the servicer every chance to run ahead.
        for _ in range(50):
            await connection.execute()
        assert produced < total / 2
        rest = [response async for response in responses]

    assert (total, total - 1) == (produced, len(rest))


async def test_neither_side_sees_what_the_other_changes(connect: Connect) -> None:
    kept: list[pb.ExecuteRequest] = []
    cached = pb.ExecuteResponse(body_json="cached")

    async def execute(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        kept.append(request)
        request.operation = pb.OPERATION_MESSAGES
        return cached

    async def stream() -> AsyncIterator[pb.StreamExecuteResponse]:
        one = chunk("first")
        yield one
        one.chunks.chunk_json[0] = "second"
        yield one

    async with connect(Scripted(execute, stream)) as connection:
        mine = pb.ExecuteRequest(body_json="mine")
        response = await connection.execute(mine)
        response.body_json = mine.body_json = "changed"
        assert "mine" == kept[0].body_json
        assert pb.OPERATION_UNSPECIFIED == mine.operation
        assert "cached" == (await connection.execute(mine)).body_json
        texts = [one.chunks.chunk_json[0] async for one in connection.stream()]

    assert ["first", "second"] == texts


async def test_calls_beyond_the_most_at_a_time_are_refused_and_the_others_go_on(connect: Connect) -> None:
    gate = asyncio.Event()

    async def execute(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        await gate.wait()
        return pb.ExecuteResponse()

    async with connect(Scripted(execute), rpc.Settings(max_calls=2)) as connection:
        # Over a socket the channel's watch of the health is one of the calls.
        calls = [asyncio.create_task(connection.execute()) for _ in range(3)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
        gate.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert pb.ExecuteResponse() == await connection.execute()

    assert {errors.Exhausted, pb.ExecuteResponse} == {type(outcome) for outcome in outcomes}


async def test_a_stopping_server_lets_calls_end_and_takes_no_more(connect: Connect) -> None:
    gate = asyncio.Event()

    async def execute(request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        await gate.wait()
        return pb.ExecuteResponse(body_json="whole")

    servicer = Scripted(execute)
    async with connect(servicer) as connection:
        under_way = asyncio.create_task(connection.execute())
        await asyncio.wait_for(servicer.arrived.wait(), 60)
        stopping = asyncio.create_task(_done(connection.stop()))
        while await rpc.healthy(connection.channel, NAME, PLAIN, timeout_s=5):
            await asyncio.sleep(0)
        with pytest.raises(errors.Unavailable):
            await connection.execute(timeout_s=5)
        gate.set()
        assert "whole" == (await under_way).body_json
        await stopping


async def test_what_does_not_end_in_time_is_cancelled_when_the_server_stops(connect: Connect) -> None:
    servicer = Scripted(never)
    async with connect(servicer, rpc.Settings(timeout_s=0.5)) as connection:
        under_way = asyncio.create_task(_caught(connection.execute(timeout_s=60)))
        await asyncio.wait_for(servicer.arrived.wait(), 60)
        await connection.stop()
        assert isinstance(await under_way, errors.Unavailable | errors.TimedOut)
        assert servicer.ended.is_set()


async def test_health_is_that_of_the_service(connect: Connect) -> None:
    async with connect(Scripted(answer)) as connection:
        assert await rpc.healthy(connection.channel, NAME, PLAIN, timeout_s=10)
        assert await rpc.healthy(connection.channel, "", PLAIN, timeout_s=10)
        assert not await rpc.healthy(connection.channel, "lumni.other.v1.OtherService", PLAIN, timeout_s=10)


async def test_a_method_that_is_not_there_is_unimplemented(connect: Connect) -> None:
    async with connect(Scripted(answer)) as connection:
        other: Any = connection.channel.unary_unary(
            f"/{NAME}/Other", request_serializer=pb.ExecuteRequest.SerializeToString
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await other(REQUEST, timeout=10)

    assert grpc.StatusCode.UNIMPLEMENTED is caught.value.code()


async def test_within_a_process_nothing_is_serialized() -> None:
    def explode(_: object) -> bytes:
        raise AssertionError("serialized")

    service = rpc.Service(NAME, pb_grpc.add_ExecutorServiceServicer_to_server, Scripted(answer))
    inside = rpc.InProcess()
    async with rpc.serve(rpc.INPROC, PLAIN, [service], inside=inside) as target:
        async with rpc.connect(target, PLAIN, NAME, repeatable=False, inside=inside) as channel:
            method: Any = channel.unary_unary(f"/{NAME}/Execute", explode, explode)
            assert "{}" == (await method(REQUEST, timeout=10)).body_json


async def test_a_service_inside_can_have_a_socket_too() -> None:
    service = rpc.Service(NAME, pb_grpc.add_ExecutorServiceServicer_to_server, Scripted(answer))
    inside = rpc.InProcess()
    async with rpc.serve("127.0.0.1:0", PLAIN, [service], inside=inside) as address:
        for target in (address, rpc.INPROC):
            async with rpc.connect(target, PLAIN, NAME, repeatable=False, inside=inside) as channel:
                stub = pb_grpc.ExecutorServiceStub(channel)
                assert "{}" == (await rpc.call(stub.Execute, REQUEST, PLAIN, timeout_s=10)).body_json


async def test_what_is_not_in_the_process_is_named() -> None:
    with pytest.raises(Mistakes, match="inproc: leads to no lumni"):
        rpc.connect(rpc.INPROC, PLAIN, NAME, repeatable=False)
    with pytest.raises(Mistakes, match=r"LUMNI_LISTEN: inproc: is for services\.together"):
        async with rpc.serve(rpc.INPROC, PLAIN, []):
            pass


async def _done(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _caught(awaitable: Awaitable[Any]) -> Exception:
    with pytest.raises(errors.Fault) as caught:
        await awaitable
    return caught.value
