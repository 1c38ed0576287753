"""gRPC as every service speaks it, over real sockets."""

import asyncio
import gc
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb
from lumni.classifier.v1 import classifier_pb2_grpc as pb_grpc
from lumni.executor.v1 import executor_pb2, executor_pb2_grpc

from services.chassis import errors, rpc, status, telemetry
from services.chassis.config import Secrets
from services.chassis.rpc import server
from services.chassis.rpc.interceptor import Interceptor

NAME = "lumni.classifier.v1.ClassifierService"
PLAIN = rpc.Settings()
REQUEST = pb.ClassifyRequest(messages=[chat_pb2.Message(text="hi")])


class Script(pb_grpc.ClassifierServiceServicer):
    """Returns its name, or raises what it is given."""

    def __init__(
        self, name: str = "one", fault: Exception | None = None, gate: asyncio.Event | None = None
    ) -> None:
        self.name = name
        self.fault = fault
        self.gate = gate
        self.arrived = asyncio.Event()
        self.seen: list[tuple[str, str, float]] = []

    async def Classify(self, request: pb.ClassifyRequest, context: object) -> pb.ClassifyResponse:
        self.arrived.set()
        self.seen.append((telemetry.request_id.get(), telemetry.trace_id(), rpc.remaining_s()))
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault
        return pb.ClassifyResponse(classification=pb.Classification(version=self.name))

    async def BatchClassify(
        self, request: pb.BatchClassifyRequest, context: object
    ) -> pb.BatchClassifyResponse:
        return pb.BatchClassifyResponse()

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        return pb.EmbedResponse()

    async def Shadow(self, request: pb.ShadowRequest, context: object) -> pb.ShadowResponse:
        return pb.ShadowResponse()


@asynccontextmanager
async def served(
    script: Script,
    settings: rpc.Settings = PLAIN,
    listen: str = "127.0.0.1:0",
    client: rpc.Settings | None = None,
) -> AsyncIterator[pb_grpc.ClassifierServiceStub]:
    service = rpc.Service(NAME, pb_grpc.add_ClassifierServiceServicer_to_server, script)
    async with rpc.serve(listen, settings, [service]) as address:
        async with rpc.connect(address, client or settings, NAME, repeatable=True) as channel:
            yield pb_grpc.ClassifierServiceStub(channel)


async def test_a_fault_arrives_as_it_was_raised() -> None:
    async with served(
        Script(fault=errors.Exhausted("wait", retry_after_s=3, metadata={"limit": "rpm"}))
    ) as stub:
        with pytest.raises(errors.Exhausted) as caught:
            await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=5)

    assert ("wait", 3, {"limit": "rpm"}) == (
        caught.value.message,
        caught.value.retry_after_s,
        caught.value.metadata,
    )


async def test_the_text_of_our_own_mistake_does_not_reach_the_caller() -> None:
    async with served(Script(fault=RuntimeError("password=hunter2"))) as stub:
        with pytest.raises(errors.Internal) as caught:
            await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=5)

    assert caught.value.message == "internal error"


async def test_a_call_carries_its_request_id_its_trace_and_its_deadline() -> None:
    script = Script()
    async with served(script) as stub:
        with telemetry.server_span("root", ""):
            telemetry.request_id.set("r-1")
            await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=5)
            expected = telemetry.trace_id()

    request_id, trace_id, remaining = script.seen[0]
    assert (request_id, trace_id) == ("r-1", expected)
    assert 0 < remaining <= 5


async def test_what_the_start_has_built_is_not_collected_again() -> None:
    frozen = gc.get_freeze_count()
    running = asyncio.create_task(rpc.until_stopped())
    try:
        await asyncio.sleep(0)
        assert gc.get_freeze_count() > frozen
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    finally:
        gc.unfreeze()


async def test_the_context_of_a_request_stands_in_for_missing_metadata() -> None:
    script = Script()
    request = pb.ClassifyRequest(context=chat_pb2.RequestContext(request_id="r-2"))
    async with served(script) as stub:
        await stub.Classify(request, timeout=60)

    assert script.seen[0][0] == "r-2"


async def test_a_call_that_takes_too_long_is_cut_at_its_deadline() -> None:
    async with served(Script(gate=asyncio.Event())) as stub:
        with pytest.raises(errors.TimedOut):
            await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=0.05)


@pytest.mark.parametrize("given", [Secrets(""), Secrets("wrong")])
async def test_a_caller_without_the_service_token_is_refused(given: Secrets) -> None:
    guarded = rpc.Settings(token=Secrets("right"))
    async with served(Script(), guarded) as stub:
        with pytest.raises(errors.Unauthenticated):
            await rpc.call(stub.Classify, REQUEST, rpc.Settings(token=given), timeout_s=5)

        assert await rpc.call(stub.Classify, REQUEST, guarded, timeout_s=5)


@pytest.mark.parametrize("given", ["old", "old,new", "new,old"])
async def test_a_service_token_is_replaced_while_callers_still_send_the_old_one(given: str) -> None:
    async with served(Script(), rpc.Settings(token=Secrets("new,old"))) as stub:
        answer = await rpc.call(stub.Classify, REQUEST, rpc.Settings(token=Secrets(given)), timeout_s=5)

    assert answer


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
def test_an_address_beyond_loopback_needs_the_service_token(listen: str) -> None:
    with pytest.raises(ValueError, match="LUMNI_SERVICE_TOKEN"):
        rpc.check_listen(listen, PLAIN)

    rpc.check_listen(listen, rpc.Settings(token=Secrets("t")))


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0", "unix:/tmp/x"])
def test_loopback_needs_none(listen: str) -> None:
    rpc.check_listen(listen, PLAIN)


async def test_calls_spread_over_replicas_and_survive_the_loss_of_one() -> None:
    first, second = Script("first"), Script("second")
    service = "add_ClassifierServiceServicer_to_server"
    add = getattr(pb_grpc, service)
    async with rpc.serve("127.0.0.1:0", PLAIN, [rpc.Service(NAME, add, second)]) as stays:
        async with rpc.serve("127.0.0.1:0", PLAIN, [rpc.Service(NAME, add, first)]) as leaves:
            target = "ipv4:" + ",".join((leaves, stays))
            channel = rpc.connect(target, PLAIN, NAME, repeatable=True)
            stub = pb_grpc.ClassifierServiceStub(channel)
            await asyncio.wait_for(_both_answer(stub, {"first", "second"}), 60)
        names = [
            (await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=5)).classification.version
            for _ in range(9)
        ]
        await channel.close()

    assert names == ["second"] * 9


async def _both_answer(stub: pb_grpc.ClassifierServiceStub, names: set[str]) -> None:
    while names:
        answer = await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=5)
        names.discard(answer.classification.version)


@asynccontextmanager
async def stopping(script: Script) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """A server's address, and what asks it to stop and returns once it says so; the block's end waits for its end."""
    service = rpc.Service(NAME, pb_grpc.add_ClassifierServiceServicer_to_server, script)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def run() -> None:
        async with rpc.serve("127.0.0.1:0", PLAIN, [service]) as address:
            ready.set_result(address)
            await stop.wait()

    task = asyncio.create_task(run())
    address = await ready
    async with grpc.aio.insecure_channel(address) as channel:
        checks: Any = health_pb2_grpc.HealthStub(channel)
        watch = checks.Watch(health_pb2.HealthCheckRequest(service=NAME), timeout=60)
        states = aiter(watch)
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.SERVING

        async def ask() -> None:
            stop.set()
            assert (await anext(states)).status == health_pb2.HealthCheckResponse.NOT_SERVING
            watch.cancel()

        yield address, ask
    await task


async def test_a_stopping_server_notifies_balancers_first_and_lets_calls_end() -> None:
    script = Script(gate=asyncio.Event())
    async with stopping(script) as (address, ask), grpc.aio.insecure_channel(address) as channel:
        under_way = asyncio.create_task(
            rpc.call(pb_grpc.ClassifierServiceStub(channel).Classify, REQUEST, PLAIN, timeout_s=10)
        )
        await script.arrived.wait()
        await ask()
        assert script.gate
        script.gate.set()
        assert (await under_way).classification.version == "one"


async def test_a_stopping_server_takes_calls_until_callers_have_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turned_away = asyncio.Event()

    async def until_quiet(_: Interceptor) -> None:
        await turned_away.wait()

    monkeypatch.setattr(server, "until_quiet", until_quiet)
    async with stopping(Script()) as (address, ask), grpc.aio.insecure_channel(address) as channel:
        stub = pb_grpc.ClassifierServiceStub(channel)
        await ask()
        # Sent by who has not heard of it yet.
        assert await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=10)
        turned_away.set()
        with pytest.raises(errors.Unavailable):
            async with asyncio.timeout(60):
                while True:
                    await rpc.call(stub.Classify, REQUEST, PLAIN, timeout_s=10)


@pytest.mark.parametrize(
    ("last_call", "calls", "ends"),
    [
        # Nobody has ever called.
        (-math.inf, (), 0.0),
        # However long ago the last one was: one may be on its way.
        (-5.0, (), server.QUIET_S),
        # Callers turn away after a while,
        (0.0, (0.05, 0.125, 0.2), 0.2 + server.QUIET_S),
        # or never.
        (0.0, tuple(number / 64 for number in range(1, 1000)), server.LONGEST_QUIET_S),
    ],
)
async def test_no_call_for_a_while_is_waited_for(
    last_call: float, calls: tuple[float, ...], ends: float
) -> None:
    interceptor = object.__new__(Interceptor)
    interceptor.last_call = last_call
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        interceptor.last_call = max((call for call in calls if call <= now), default=interceptor.last_call)

    await server.until_quiet(interceptor, lambda: now, sleep)

    assert now == pytest.approx(ends)


class Endless(executor_pb2_grpc.ExecutorServiceServicer):
    """Streams until it is closed, and says when that was."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def StreamExecute(
        self, request: executor_pb2.StreamExecuteRequest, context: object
    ) -> AsyncIterator[executor_pb2.StreamExecuteResponse]:
        try:
            while True:
                yield executor_pb2.StreamExecuteResponse(chunks=executor_pb2.Chunks(chunk_json=["{}"]))
                await asyncio.sleep(0.001)
        finally:
            self.closed.set()

    async def Execute(
        self, request: executor_pb2.ExecuteRequest, context: object
    ) -> executor_pb2.ExecuteResponse:
        raise errors.Internal("not asked")

    async def ListDeployments(
        self, request: executor_pb2.ListDeploymentsRequest, context: object
    ) -> executor_pb2.ListDeploymentsResponse:
        raise errors.Internal("not asked")


async def test_leaving_a_stream_closes_it_at_the_other_end() -> None:
    endless = Endless()
    name = "lumni.executor.v1.ExecutorService"
    service = rpc.Service(name, executor_pb2_grpc.add_ExecutorServiceServicer_to_server, endless)
    async with rpc.serve("127.0.0.1:0", PLAIN, [service]) as address:
        async with rpc.connect(address, PLAIN, name, repeatable=False) as channel:
            stub = executor_pb2_grpc.ExecutorServiceStub(channel)
            pieces = rpc.stream(stub.StreamExecute, executor_pb2.StreamExecuteRequest(), PLAIN, timeout_s=10)
            await anext(pieces)
            await pieces.aclose()
            await asyncio.wait_for(endless.closed.wait(), 60)


class Stalled(Endless):
    """Keeps the event loop busy beyond the deadline, from when its first response is about to be written."""

    async def StreamExecute(
        self, request: executor_pb2.StreamExecuteRequest, context: object
    ) -> AsyncIterator[executor_pb2.StreamExecuteResponse]:
        asyncio.get_running_loop().call_soon(time.sleep, rpc.remaining_s() + 0.1)
        yield executor_pb2.StreamExecuteResponse(chunks=executor_pb2.Chunks(chunk_json=["{}"]))
        await asyncio.Event().wait()


async def test_a_deadline_that_passes_while_the_first_response_is_written_reaches_the_caller() -> None:
    name = "lumni.executor.v1.ExecutorService"
    service = rpc.Service(name, executor_pb2_grpc.add_ExecutorServiceServicer_to_server, Stalled())
    async with rpc.serve("127.0.0.1:0", rpc.Settings(timeout_s=0.5), [service]) as address:
        async with rpc.connect(address, PLAIN, name, repeatable=False) as channel:
            stub = executor_pb2_grpc.ExecutorServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stub.StreamExecute(executor_pb2.StreamExecuteRequest(), timeout=20):
                    pass

    # Said by the server, not by the caller's own deadline.
    assert (grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed") == (
        caught.value.code(),
        caught.value.details(),
    )


def test_an_unknown_failure_of_the_channel_is_our_own() -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode.DATA_LOSS, grpc.aio.Metadata(), grpc.aio.Metadata(), "odd")

    assert isinstance(status.from_rpc(error), errors.Internal)
