"""What is particular to services that share a process."""

import re

import grpc
import httpx
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from lumni.executor.v1 import executor_pb2, executor_pb2_grpc
from lumni.selector.v1 import selector_pb2, selector_pb2_grpc

from tests.flow import stack as stacks
from tests.flow.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.arrangements
async def test_every_service_answers_at_its_own_port(stack: Stack) -> None:
    asked = classifier_pb2.ClassifyRequest(
        messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, text="What is 15 % of 80?")]
    )
    async with (
        grpc.aio.insecure_channel(stack.listen["classifier"]) as classifier,
        grpc.aio.insecure_channel(stack.listen["selector"]) as selector,
        grpc.aio.insecure_channel(stack.listen["executor"]) as executor,
    ):
        judged = await classifier_pb2_grpc.ClassifierServiceStub(classifier).Classify(asked, timeout=60)
        models = await selector_pb2_grpc.SelectorServiceStub(selector).ListModels(
            selector_pb2.ListModelsRequest(), timeout=60
        )
        listed = await executor_pb2_grpc.ExecutorServiceStub(executor).ListDeployments(
            executor_pb2.ListDeploymentsRequest(), timeout=60
        )

    assert classifier_pb2.CATEGORY_MATH == judged.classification.category
    assert {"small", "large"} <= {model.name for model in models.models}
    assert "small@openai" in {deployment.id for deployment in listed.deployments}


@pytest.mark.arrangements
async def test_metrics_are_those_of_all_processes_that_serve_rest(stack: Stack) -> None:
    admin = {"authorization": f"Bearer {stacks.ADMIN_KEY}"}
    counted = re.compile(
        r'^lumni_http_request_duration_seconds_count\{.*/v1/models".*\} (\S+)$', re.MULTILINE
    )

    async def shown() -> float:
        async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False) as http:
            return sum(map(float, counted.findall((await http.get("/metrics", headers=admin)).text)))

    before = await shown()
    for _ in range(10):
        # A connection each, so that every process gets some.
        async with httpx.AsyncClient(
            base_url=stack.rest, headers=stack.headers, timeout=60, trust_env=False
        ) as http:
            (await http.get("/v1/models")).raise_for_status()

    assert before + 10 == await shown()
