"""What the servicer makes of a call before the pipeline has it."""

from typing import cast

import orjson
import pytest
from lumni.gateway.v1 import gateway_pb2

from services.chassis import errors, offload, rpc
from services.gateway.config.plans import Plan
from services.gateway.keys.permissions import Caller
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.prompts.expander import RequestExpander
from services.gateway.prompts.library import PromptLibrary
from services.gateway.rpc import admission
from services.gateway.rpc.servicer import GatewayServicer
from tests.gateway.pipelines import Asked

TEXT = "a" * (offload.LONG + 1)


@pytest.mark.parametrize("text", ["a", TEXT], ids=["short", "long"])
@pytest.mark.parametrize("method", ["Ask", "Complete"])
async def test_the_pipeline_knows_of_a_long_message_that_it_is_long(method: str, text: str) -> None:
    pipeline = Asked()
    servicer = GatewayServicer(
        ConcurrencyLimiter(1),
        cast("Pipeline", pipeline),
        RequestExpander(cast("PromptLibrary", None)),
        MistakeLimit(0),
    )
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    request = (
        gateway_pb2.AskRequest(prompt=text)
        if method == "Ask"
        else gateway_pb2.CompleteRequest(body_json=orjson.dumps(body).decode())
    )
    admission.caller.set(Caller(key_id="k", plan=Plan("open")))
    admission.checked.set((0, 0))
    rpc.message_bytes.set(request.ByteSize())

    with pytest.raises(errors.Unavailable):
        await getattr(servicer, method)(request, None)

    (asked,) = pipeline.requests
    assert (request.ByteSize() if text == TEXT else 0) == asked.size
