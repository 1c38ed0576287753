"""Clouds whose credentials are no single key."""

from contextlib import aclosing

import pytest

from services.chassis.operations import Operation
from services.executor.engines.base import Call
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.outcomes import Failed
from services.executor.engines.prepare import Preparer
from services.executor.engines.proxies import Proxies
from tests.executor.fleet import deployment
from tests.simulator import Simulator


async def test_a_request_for_bedrock_is_signed_by_the_clouds_own_credentials(simulator: Simulator) -> None:
    nova = deployment(
        simulator.url,
        "bedrock",
        "amazon.nova-lite-v1:0",
        api_base="",
        key_ref="",
        params={
            "aws_access_key_id": "os.environ/HOUSE_AWS_ID",
            "aws_secret_access_key": "os.environ/HOUSE_AWS_SECRET",
            "aws_region_name": "eu-west-1",
            "aws_bedrock_runtime_endpoint": simulator.url,
        },
    )
    body = {"messages": [{"role": "user", "content": "hi"}]}
    call = Call(nova, None, Operation.CHAT, body, stream=False, timeout_s=10)
    engine = LiteLLMEngine(Proxies(), Preparer({"HOUSE_AWS_ID": "AKIAHOUSE", "HOUSE_AWS_SECRET": "s"}))

    # The simulator does not speak its format.
    with pytest.raises(Failed):
        async with aclosing(engine.call(call)) as pieces:
            await anext(pieces)
    await engine.aclose()

    (sent,) = await simulator.requests()
    assert "/model/amazon.nova-lite-v1%3A0/converse" == sent["path"]
    assert sent["headers"]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAHOUSE/")
    assert "/eu-west-1/bedrock/" in sent["headers"]["authorization"]
