"""The three services behind the gateway, as it calls them: Classify, Shadow, Embed and Select, Execute never twice."""

import logging
from collections.abc import AsyncGenerator, Sequence

import grpc
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from lumni.executor.v1 import executor_pb2, executor_pb2_grpc
from lumni.selector.v1 import selector_pb2, selector_pb2_grpc

from services.chassis import errors, rpc, status, telemetry
from services.gateway.peers.batching import BatchedPeer

log = logging.getLogger(__name__)

CLASSIFIER = "lumni.classifier.v1.ClassifierService"
SELECTOR = "lumni.selector.v1.SelectorService"
EXECUTOR = "lumni.executor.v1.ExecutorService"
# The longest wait for a list of what the executor knows already, in seconds.
LIST_TIMEOUT_S = 1.0


class Classifier:
    """Says what is asked, and how hard it is; `shared` is whether requests that wait for it share a call."""

    def __init__(
        self, channel: grpc.aio.Channel, settings: rpc.Settings, timeout_s: float, *, shared: bool = True
    ) -> None:
        self._channel = channel
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self._settings = settings
        self._timeout_s = timeout_s
        self.classify: BatchedPeer[classifier_pb2.ClassifyRequest, classifier_pb2.Classification] = (
            BatchedPeer(
                "classifier",
                self._send,
                timeout_s,
                size=classifier_pb2.ClassifyRequest.ByteSize,
                ask=None if shared else self._ask,
            )
        )

    async def _ask(self, request: classifier_pb2.ClassifyRequest) -> classifier_pb2.Classification:
        response = await rpc.call(self._stub.Classify, request, self._settings, timeout_s=self._timeout_s)
        return response.classification

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

    async def shadow(
        self, request: classifier_pb2.ClassifyRequest, served: "classifier_pb2.Tier.ValueType"
    ) -> classifier_pb2.Classification:
        """What the version that is not served makes of a request; `served` is the tier that was.

        Raises:
            Fault: as every call, or there is no such version, or it is busy.
        """
        asked = classifier_pb2.ShadowRequest(classify=request, served_tier=served)
        response = await rpc.call(self._stub.Shadow, asked, self._settings, timeout_s=self._timeout_s)
        return response.classification

    async def embed(self, text: str) -> Sequence[float]:
        """What a text is about, as a vector.

        Raises:
            Fault: as every call.
        """
        context = chat_pb2.RequestContext(request_id=telemetry.request_id.get())
        request = classifier_pb2.EmbedRequest(context=context, text=text)
        response = await rpc.call(self._stub.Embed, request, self._settings, timeout_s=self._timeout_s)
        return response.vector

    async def ready(self) -> bool:
        """Whether it answers now."""
        return await rpc.healthy(self._channel, CLASSIFIER, self._settings)


class Selector:
    """Ranks deployments, and knows the models; `shared` as in `Classifier`."""

    def __init__(
        self, channel: grpc.aio.Channel, settings: rpc.Settings, timeout_s: float, *, shared: bool = True
    ) -> None:
        self._channel = channel
        self._stub = selector_pb2_grpc.SelectorServiceStub(channel)
        self._settings = settings
        self._timeout_s = timeout_s
        self.select: BatchedPeer[selector_pb2.SelectRequest, selector_pb2.Selection] = BatchedPeer(
            "selector",
            self._send,
            timeout_s,
            size=selector_pb2.SelectRequest.ByteSize,
            ask=None if shared else self._ask,
        )

    async def _ask(self, request: selector_pb2.SelectRequest) -> selector_pb2.Selection:
        response = await rpc.call(self._stub.Select, request, self._settings, timeout_s=self._timeout_s)
        return response.selection

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

    async def replay(
        self, request: selector_pb2.ReplayRequest, timeout_s: float
    ) -> list[selector_pb2.SelectResult]:
        """What it selects for requests of the past, in their order.

        Raises:
            Fault: it cannot be asked, or the configuration of the request has mistakes.
        """
        response = await rpc.call(self._stub.Replay, request, self._settings, timeout_s=timeout_s)
        return list(response.results)

    async def model(self, request: selector_pb2.GetModelRequest) -> selector_pb2.Model:
        """One of them."""
        response = await rpc.call(self._stub.GetModel, request, self._settings, timeout_s=self._timeout_s)
        return response.model

    async def ready(self) -> bool:
        """Whether it answers now."""
        return await rpc.healthy(self._channel, SELECTOR, self._settings)


class Executor:
    """Gets answers. A call is never repeated: it may have been billed."""

    def __init__(self, channel: grpc.aio.Channel, settings: rpc.Settings) -> None:
        self._stub = executor_pb2_grpc.ExecutorServiceStub(channel)
        self._channel = channel
        self._settings = settings

    async def execute(
        self, request: executor_pb2.ExecuteRequest, timeout_s: float
    ) -> executor_pb2.ExecuteResponse:
        """The whole answer and its report.

        Raises:
            Fault: what the caller may read; the report of attempts that were made is in its details.
        """
        return await rpc.call(
            self._stub.Execute, request, self._settings, timeout_s=timeout_s, shown=_for_callers
        )

    def stream(
        self, request: executor_pb2.ExecuteRequest, timeout_s: float
    ) -> AsyncGenerator[executor_pb2.StreamExecuteResponse, None]:
        """The pieces of an answer, then its report.

        Raises:
            Fault: as `execute`.
        """
        wrapped = executor_pb2.StreamExecuteRequest(execute=request)
        return rpc.stream(
            self._stub.StreamExecute, wrapped, self._settings, timeout_s=timeout_s, shown=_for_callers
        )

    async def deployments(self) -> list[executor_pb2.Deployment]:
        """What is configured, and how it fares as one replica sees it.

        Raises:
            Fault: no replica answers in time.
        """
        request = executor_pb2.ListDeploymentsRequest()
        response = await rpc.call(
            self._stub.ListDeployments, request, self._settings, timeout_s=LIST_TIMEOUT_S
        )
        return list(response.deployments)

    async def ready(self) -> bool:
        """Whether it answers now."""
        return await rpc.healthy(self._channel, EXECUTOR, self._settings)


def _for_callers(fault: errors.Fault) -> errors.Fault:
    """What callers get for a fault of a service; its own trouble, such as a wrong service token, is not theirs."""
    if isinstance(fault, errors.Unauthenticated):
        log.error("a service refuses the gateway: %s", fault.message)
        return errors.Unavailable("a service is misconfigured", retry_after_s=5)
    if isinstance(fault, errors.Unavailable) and fault.retry_after_s is None:
        fault.retry_after_s = 1
    return fault
