"""What a caller reads when a service itself is in trouble."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from lumni.executor.v1 import executor_pb2, executor_pb2_grpc

from services.chassis import errors, rpc
from services.gateway.peers import clients
from services.gateway.peers.clients import Executor

SETTINGS = rpc.Settings(timeout_s=5)
REPORT = executor_pb2.Report(cost_nano_usd=7)


class ExecutorServicer(executor_pb2_grpc.ExecutorServiceServicer):
    """Fails every call, a streamed one after its first chunk."""

    def __init__(self, fault: errors.Fault) -> None:
        self._fault = fault

    async def Execute(
        self, request: executor_pb2.ExecuteRequest, context: object
    ) -> executor_pb2.ExecuteResponse:
        raise self._fault

    async def StreamExecute(
        self, request: executor_pb2.StreamExecuteRequest, context: object
    ) -> AsyncGenerator[executor_pb2.StreamExecuteResponse, None]:
        yield executor_pb2.StreamExecuteResponse(chunks=executor_pb2.Chunks(chunk_json=["{}"]))
        raise self._fault

    async def ListDeployments(
        self, request: executor_pb2.ListDeploymentsRequest, context: object
    ) -> executor_pb2.ListDeploymentsResponse:
        raise NotImplementedError("nothing here lists deployments")


async def execute(executor: Executor) -> None:
    await executor.execute(executor_pb2.ExecuteRequest(), 5)


async def stream(executor: Executor) -> None:
    chunks = [one async for one in executor.stream(executor_pb2.ExecuteRequest(), 5)]
    assert not chunks, "a failing stream must not end as a whole one"


@pytest.mark.parametrize("call", [execute, stream])
@pytest.mark.parametrize(
    ("fault", "kind", "message", "retry_after_s"),
    [
        # The service token is wrong: not the caller's key, as its status would say.
        (errors.Unauthenticated("no token"), errors.Unavailable, "a service is misconfigured", 5),
        (errors.Unavailable("all failed"), errors.Unavailable, "all failed", 1),
        (errors.Unavailable("all failed", retry_after_s=7), errors.Unavailable, "all failed", 7),
        (errors.Invalid("too long"), errors.Invalid, "too long", None),
    ],
)
async def test_a_fault_of_the_executor_is_one_that_a_caller_can_read(
    call: Callable[[Executor], Awaitable[None]],
    fault: errors.Fault,
    kind: type[errors.Fault],
    message: str,
    retry_after_s: float | None,
) -> None:
    add: Any = executor_pb2_grpc.add_ExecutorServiceServicer_to_server
    services = [rpc.Service(clients.EXECUTOR, add, ExecutorServicer(fault))]
    async with (
        rpc.serve("127.0.0.1:0", SETTINGS, services) as address,
        rpc.connect(address, SETTINGS, clients.EXECUTOR, repeatable=False) as channel,
    ):
        with pytest.raises(kind, match=message) as caught:
            await call(Executor(channel, SETTINGS))

    assert retry_after_s == caught.value.retry_after_s
