"""No series of a metric is made for what callers make up: hundreds of names of each kind at whatever sets labels."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import fastapi
import grpc
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2
from prometheus_client import REGISTRY

from services.chassis import errors, rpc
from services.chassis.operations import Operation
from services.chassis.rpc.interceptor import Interceptor
from services.gateway.limits import persistent
from services.gateway.limits.refusal import Refusal
from services.gateway.pipeline import measures
from services.gateway.pipeline.decision import Decision
from services.gateway.rest.middleware import RequestMiddleware

NAMES = 300
RANDOM = Random(1)


def names() -> Iterator[str]:
    """What no other test calls anything."""
    return (f"made-up-{RANDOM.getrandbits(64):x}" for _ in range(NAMES))


def series() -> set[str]:
    """All series of this process, without the buckets of histograms, which follow from the others."""
    return {
        f"{one.name}{one.labels}"
        for metric in REGISTRY.collect()
        for one in metric.samples
        if one.name.startswith("lumni_") and not one.name.endswith(("_bucket", "_created"))
    }


@contextmanager
def adding(expected: int) -> Iterator[None]:
    """The block may add so many series: one for each value that the labels may have there."""
    before = series()
    yield
    new = series() - before
    assert not [one for one in new if "made-up" in one]
    assert len(new) <= expected, sorted(new)


async def test_paths_methods_models_parameters_and_headers(caplog: pytest.LogCaptureFixture) -> None:
    # A line of each request would take longer than the request.
    caplog.set_level(logging.WARNING)
    app = fastapi.FastAPI()

    @app.get("/v1/models/{model}")
    async def model(model: str) -> str:
        return model

    served = RequestMiddleware(app)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None:
        pass

    # A sum and a count for each of: no such route, and no such method of the one route.
    with adding(2 * 2):
        for name in names():
            for method, path in (
                ("GET", f"/{name}/{name}"),
                (name.upper(), f"/v1/models/{name}"),
            ):
                scope = {
                    "type": "http",
                    "method": method,
                    "path": path,
                    "query_string": f"{name}={name}".encode(),
                    "headers": [(b"x-lumni-user", name.encode()), (name.encode(), b"x")],
                }
                await served(scope, receive, send)


async def test_methods_of_grpc() -> None:
    interceptor = Interceptor(rpc.Settings(), None, receiver=None)  # type: ignore[arg-type]

    async def nobody(_: grpc.HandlerCallDetails) -> None:
        return None

    with adding(0):
        for name in names():
            for method in (f"/{name}/Ask", f"/lumni.gateway.v1.GatewayService/{name}", name):
                called: Any = SimpleNamespace(method=method, invocation_metadata=())
                assert await interceptor.intercept_service(nobody, called) is None
    # Nor is anything kept for them.
    assert not interceptor._wrapped


@pytest.mark.parametrize("scope", persistent.SCOPES)
@pytest.mark.parametrize("kind", ["requests", "tokens", "parallel", "budget"])
def test_keys_users_and_organizations_at_their_limits(scope: str, kind: str) -> None:
    with adding(1):
        for name in names():
            Refusal(subject=f"{scope}:{name}", kind=kind, limit=1, retry_ms=1000, reset_ms=1000).fault(
                "redis"
            )


def test_models_tenants_and_users_of_requests() -> None:
    selection = selector_pb2.Selection(tier=classifier_pb2.TIER_FAST)
    # Refused with and without a decision, and answered.
    with adding(3):
        for name in names():
            measures.refused(Operation.CHAT, None, errors.NotFound(f"there is no model {name}", reason=name))
            context = chat_pb2.RequestContext(
                request_id=name, tenant=name, user_id=name, key_id=name, organization_id=name, plan=name
            )
            decision = Decision(0.0, context, classifier_pb2.Classification(), selection, [], prompt=name)
            measures.refused(Operation.CHAT, decision, errors.Invalid(name, param=name))
            with measures.execution(Operation.CHAT, decision) as running:
                running.report = executor_pb2.Report(
                    attempts=[executor_pb2.Attempt(model=name, unpriced=True)]
                )
