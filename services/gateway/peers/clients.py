"""The three services behind the gateway, as it calls them.

Classify and Select are asked in adaptive batches. A peer that keeps failing is left alone for a second, so that a
frozen one costs a few requests its deadline and the others nothing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Generic, TypeVar

import grpc
from lumni.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from lumni.executor.v1 import executor_pb2, executor_pb2_grpc
from lumni.selector.v1 import selector_pb2, selector_pb2_grpc

from services.chassis import errors, rpc, status
from services.chassis.batching import Batcher

log = logging.getLogger(__name__)
Q = TypeVar("Q")
A = TypeVar("A")

CLASSIFIER = "lumni.classifier.v1.ClassifierService"
SELECTOR = "lumni.selector.v1.SelectorService"
EXECUTOR = "lumni.executor.v1.ExecutorService"
TOLERATED_FAILURES = 3
PAUSE_S = 1.0


class Asked(Generic[Q, A]):
    """A peer that answers single requests quickly, or is done without.

    Args:
        name: For logs.
        send: Makes one batched call.
        timeout_s: The longest a request waits for its answer.
    """

    def __init__(self, name: str, send: Callable[[Sequence[Q]], Any], timeout_s: float) -> None:
        self._name = name
        self._batch: Batcher[Q, A] = Batcher(send)
        self._timeout_s = timeout_s
        self._failures = 0
        self._paused_until = 0.0

    async def __call__(self, request: Q) -> A:
        """Ask.

        Raises:
            Unavailable: the peer is down, slow, or was so a moment ago.
            Fault: what the peer says is wrong with the request.
        """
        if time.monotonic() < self._paused_until:
            raise errors.Unavailable(f"the {self._name} is down")
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._batch(request)
        except (TimeoutError, errors.TimedOut, errors.Unavailable) as error:
            if isinstance(error, errors.Unavailable) and error.reason != errors.Unavailable.reason:
                raise  # it answered: something else is unavailable
            self._failures += 1
            if self._failures >= TOLERATED_FAILURES:
                if self._failures == TOLERATED_FAILURES:
                    log.warning("the %s does not answer", self._name)
                self._paused_until = time.monotonic() + PAUSE_S
            raise errors.Unavailable(f"the {self._name} does not answer") from error
        if self._failures >= TOLERATED_FAILURES:
            log.info("the %s answers again", self._name)
        self._failures = 0
        return answer


class Classifier:
    """Judges requests."""

    def __init__(self, channel: grpc.aio.Channel, settings: rpc.Settings, timeout_s: float) -> None:
        self._channel = channel
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self._settings = settings
        self._timeout_s = timeout_s
        self.classify: Asked[classifier_pb2.ClassifyRequest, classifier_pb2.Classification] = Asked(
            "classifier", self._send, timeout_s
        )

    async def _send(
        self, requests: Sequence[classifier_pb2.ClassifyRequest]
    ) -> list[classifier_pb2.Classification | Exception]:
        batch = classifier_pb2.BatchClassifyRequest(requests=requests)
        response = await rpc.call(self._stub.BatchClassify, batch, self._settings, timeout_s=self._timeout_s)
        return [
            result.classification
            if result.WhichOneof("outcome") == "classification"
            else status.from_failure(result.error)
            for result in response.results
        ]

    async def ready(self) -> bool:
        """Whether it answers now."""
        return await rpc.healthy(self._channel, CLASSIFIER, self._settings)


class Selector:
    """Ranks deployments, and knows the models."""

    def __init__(self, channel: grpc.aio.Channel, settings: rpc.Settings, timeout_s: float) -> None:
        self._channel = channel
        self._stub = selector_pb2_grpc.SelectorServiceStub(channel)
        self._settings = settings
        self._timeout_s = timeout_s
        self.select: Asked[selector_pb2.SelectRequest, selector_pb2.Selection] = Asked(
            "selector", self._send, timeout_s
        )

    async def _send(
        self, requests: Sequence[selector_pb2.SelectRequest]
    ) -> list[selector_pb2.Selection | Exception]:
        batch = selector_pb2.BatchSelectRequest(requests=requests)
        response = await rpc.call(self._stub.BatchSelect, batch, self._settings, timeout_s=self._timeout_s)
        return [
            result.selection
            if result.WhichOneof("outcome") == "selection"
            else status.from_failure(result.error)
            for result in response.results
        ]

    async def models(self, request: selector_pb2.ListModelsRequest) -> list[selector_pb2.Model]:
        """The models a policy may reach, by name."""
        response = await rpc.call(self._stub.ListModels, request, self._settings, timeout_s=self._timeout_s)
        return list(response.models)

    async def model(self, request: selector_pb2.GetModelRequest) -> selector_pb2.Model:
        """One of them."""
        response = await rpc.call(self._stub.GetModel, request, self._settings, timeout_s=self._timeout_s)
        return response.model

    async def ready(self) -> bool:
        """Whether it answers now."""
        return await rpc.healthy(self._channel, SELECTOR, self._settings)


class Executor:
    """Gets answers; never asked twice."""

    def __init__(self, channel: grpc.aio.Channel, settings: rpc.Settings) -> None:
        self._stub = executor_pb2_grpc.ExecutorServiceStub(channel)
        self._channel = channel
        self._settings = settings

    async def execute(
        self, request: executor_pb2.ExecuteRequest, timeout_s: float
    ) -> executor_pb2.ExecuteResponse:
        """The whole answer and its bill."""
        return await rpc.call(self._stub.Execute, request, self._settings, timeout_s=timeout_s)

    def stream(
        self, request: executor_pb2.ExecuteRequest, timeout_s: float
    ) -> AsyncGenerator[executor_pb2.StreamExecuteResponse, None]:
        """Its pieces, then the bill."""
        wrapped = executor_pb2.StreamExecuteRequest(execute=request)
        return rpc.stream(self._stub.StreamExecute, wrapped, self._settings, timeout_s=timeout_s)

    async def ready(self) -> bool:
        """Whether it answers now."""
        return await rpc.healthy(self._channel, EXECUTOR, self._settings)
