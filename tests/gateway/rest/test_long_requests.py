"""The work on a long request leaves the event loop to others, on whichever route it comes."""

import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import orjson
import pytest

from services.chassis import offload
from services.chassis.byte_budget import ByteBudget
from services.gateway.config.plans import Plan
from services.gateway.conversations.store import Kept, ResponseStore
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Limits
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.prompts.expander import RequestExpander
from services.gateway.rest import application, prompt_calls, responses
from services.gateway.rest.dispatcher import Dispatcher
from services.gateway.rest.early_checks import EarlyChecks
from tests.gateway.pipelines import Asked
from tests.gateway.prompts.test_expander import NEEDY, OnePrompt

KEY = {"authorization": "Bearer sk-good"}
LONG = "a" * (offload.LONG + 1)


class Keys:
    async def caller(self, _: str) -> Caller:
        return Caller(key_id="k", plan=Plan("open"))


class OneResponse:
    """Keeps one response, to a long conversation."""

    async def read(self, *_: str) -> Kept:
        return Kept({"output": []}, [{"type": "message", "role": "user", "content": "Hi"}], len(LONG))


@pytest.fixture
def pipeline() -> Asked:
    return Asked()


@pytest.fixture
async def http(pipeline: Asked) -> AsyncIterator[httpx.AsyncClient]:
    asked, prompts = cast("Pipeline", pipeline), RequestExpander(OnePrompt(NEEDY))
    routes = [
        *prompt_calls.routes(asked, prompts),
        *responses.routes(asked, prompts, cast("ResponseStore", OneResponse())),
    ]
    checks = EarlyChecks(
        cast("Authenticator", Keys()), ConcurrencyLimiter(8), MistakeLimit(0), cast("Limits", None)
    )
    app = Dispatcher(application.create([]), routes, checks, ByteBudget(2**24))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize(("path", "status"), [("render", 200), ("completions", 503)])
async def test_a_long_request_for_a_prompt_is_read_and_written_beside_the_loop(
    http: httpx.AsyncClient, pipeline: Asked, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    threads: list[int] = []
    written, parsed = orjson.dumps, orjson.loads

    def note(text: bytes) -> None:
        if len(text) > offload.LONG:
            threads.append(threading.get_ident())

    def dumps(value: object) -> bytes:
        note(text := written(value))
        return text

    def loads(text: bytes) -> Any:
        note(text)
        return parsed(text)

    body = written({"model": "m", "variables": {"name": LONG}})
    monkeypatch.setattr(orjson, "dumps", dumps)
    monkeypatch.setattr(orjson, "loads", loads)
    answer = await http.post(f"/v1/prompts/pr-1/{path}", content=body, headers=KEY)

    assert status == answer.status_code
    assert threads
    assert threading.get_ident() not in threads
    assert all(request.size > offload.LONG for request in pipeline.requests)


async def test_a_short_request_that_goes_on_from_a_long_conversation_is_a_long_one(
    http: httpx.AsyncClient, pipeline: Asked
) -> None:
    body = {"model": "m", "input": "And then?", "previous_response_id": "resp_1"}
    await http.post("/v1/responses", json=body, headers=KEY)

    (asked,) = pipeline.requests
    assert asked.size > len(LONG)
