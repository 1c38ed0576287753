"""Every RPC of the four services, called with random messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.gateway.v1 import gateway_pb2, keys_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors, status
from services.chassis.strategies import STRATEGIES
from services.selector.models.options import PARTS
from tests.fuzz import bodies
from tests.fuzz.messages import Known, messages

# The modules of the contract's services, by the process that serves them.
_SERVED = {
    "classifier": classifier_pb2,
    "selector": selector_pb2,
    "executor": executor_pb2,
    "gateway": gateway_pb2,
    "keys": keys_pb2,
}
# What no request may be answered with, whatever is in it.
OUR_MISTAKES = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
# What is wrong with a body as a whole, and so with no field of it.
OF_THE_WHOLE = ("INVALID_JSON", "JSON_TOO_DEEP", "JSON_TOO_MANY_VALUES", "REQUEST_TOO_LARGE")
# Longer than any request of a fuzzer may take.
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Rpc:
    """One method: who serves it, and what it takes and gives."""

    served_by: str
    service: str
    name: str
    request: Descriptor
    response: type[Message]
    streams: bool

    def __str__(self) -> str:
        return f"{self.served_by}.{self.name}"


def _all() -> list[Rpc]:
    return [
        Rpc(
            served_by,
            service.full_name,
            method.name,
            method.input_type,
            GetMessageClass(method.output_type),
            method.server_streaming,
        )
        for served_by, module in _SERVED.items()
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


RPCS = {str(one): one for one in _all()}


def known(models: tuple[str, ...], deployments: tuple[str, ...]) -> Known:
    """What leads further into the services than noise, by the name of the field."""
    return {
        "body_json": [json.dumps(body) for body in bodies.PLAIN],
        "category": [1, 7],
        "deployment": deployments,
        "language": ["", "en", "de"],
        "metadata_json": ["{}", '{"team": "a"}', "[]", '{"a": "\\u0000"}'],
        "model": [*models, "auto", ""],
        "name": [*models, *PARTS],
        "operation": ["", "chat", "embeddings"],
        "output_tokens": [0, 100],
        "paths": ["plan", "models", "expires_at", "metadata_json", "budget_period"],
        "plan": ["open"],
        "prompt_tokens": [0, 1000, 10**6],
        "request_id": ["r1"],
        "strategy": ["", *STRATEGIES],
        "strong_win_rate": [0.0, 0.3, 1.0],
        "text": ["Write a function that adds two numbers.", "今日は", "What is 2+2?"],
        "version": ["v1"],
    }


def requests(rpc: Rpc, about: Known) -> st.SearchStrategy[Message]:
    """Requests of a method; some are good but for the JSON in them, which leads to what reads it."""
    made = messages(rpc.request, about)
    if rpc.request.name in ("ExecuteRequest", "StreamExecuteRequest"):
        sent = st.builds(
            executor_pb2.ExecuteRequest,
            context=st.just(chat_pb2.RequestContext(request_id="r1", tenant="t")),
            operation=st.sampled_from(executor_pb2.Operation.values()),
            body_json=bodies.chats().map(json.dumps),
            candidates=st.sampled_from(about["deployment"]).map(
                lambda name: [executor_pb2.Candidate(deployment=name, max_cost_nano_usd=10**9)]
            ),
        )
        streams = rpc.request.name == "StreamExecuteRequest"
        return made | (
            sent.map(lambda one: executor_pb2.StreamExecuteRequest(execute=one)) if streams else sent
        )
    if "body_json" in rpc.request.fields_by_name:
        made_of = GetMessageClass(rpc.request)
        made |= bodies.chats().map(lambda body: made_of(body_json=json.dumps(body)))
    return made


async def check(
    channel: grpc.aio.Channel, rpc: Rpc, request: Message, metadata: Mapping[str, str] | None = None
) -> str:
    """Call, and return the code of the answer.

    Raises:
        AssertionError: the answer blames the server, or does not name the field at fault.
    """
    path = f"/{rpc.service}/{rpc.name}"
    serialize, parse = type(request).SerializeToString, rpc.response.FromString
    about = tuple((metadata or {}).items())
    response: Any = None
    failed: grpc.aio.AioRpcError | None = None
    try:
        if rpc.streams:
            stream = channel.unary_stream(path, serialize, parse)
            async for _ in stream(request, timeout=TIMEOUT_S, metadata=about):
                pass
        else:
            call = channel.unary_unary(path, serialize, parse)
            response = await call(request, timeout=TIMEOUT_S, metadata=about)
    except grpc.aio.AioRpcError as error:
        failed = error
    if failed is not None:
        assert failed.code() not in OUR_MISTAKES, f"{rpc}: {failed.code().name} {failed.details()}"
        fault = status.from_rpc(failed)
        # What a provider or its translation refuses need not name a field, as OpenAI's own errors need not.
        named = fault.param or fault.reason in OF_THE_WHOLE or "error_class" in fault.metadata
        assert not isinstance(fault, errors.Invalid) or named, f"{rpc}: names no field: {fault}"
        return failed.code().name
    if rpc.name.startswith("Batch"):
        _check_batch(rpc, request, response)
    return "OK"


def _check_batch(rpc: Rpc, request: Any, response: Any) -> None:
    assert len(request.requests) == len(response.results)
    for result in response.results:
        if result.WhichOneof("outcome") == "error":
            assert result.error.code not in {code.value[0] for code in OUR_MISTAKES}, f"{rpc}: {result.error}"
