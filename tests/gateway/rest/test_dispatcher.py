"""Routes without a framework: who is let in before the body is read, and what every answer has in common."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any, cast

import httpx
import orjson
import pytest
from lumni.executor.v1 import executor_pb2
from starlette.types import Message

from services.chassis import errors
from services.chassis.byte_budget import ByteBudget
from services.gateway.config.plans import Plan
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Limits
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.pipeline.pipeline import Stream
from services.gateway.rest import application
from services.gateway.rest.api_format import OPENAI
from services.gateway.rest.dispatcher import Dispatcher, Route
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.exchange import Exchange
from services.gateway.rest.middleware import DURATION
from services.gateway.rest.requests import MAX_BODY

KEY = {"authorization": "Bearer sk-good"}
OTHER_API = replace(OPENAI, error=lambda fault: orjson.dumps({"type": "error", "says": fault.message}))


class Keys:
    async def caller(self, key: str) -> Caller:
        if key != "sk-good":
            raise errors.Unauthenticated("this API key is not known")
        return Caller(key_id="k", plan=Plan("open"), tenant="organization:a")


@pytest.fixture
def limiter() -> ConcurrencyLimiter:
    return ConcurrencyLimiter(1)


@pytest.fixture
def bodies() -> ByteBudget:
    return ByteBudget(2002)


@pytest.fixture
def dispatcher(limiter: ConcurrencyLimiter, bodies: ByteBudget) -> Dispatcher:
    async def whole(exchange: Exchange) -> None:
        body = (await exchange.body()).decode()
        shown = [exchange.caller.tenant, limiter._shares.running, body, exchange.header(b"x-colour")]
        await exchange.answer(orjson.dumps(shown), {"x-lumni-tier": "fast"})

    async def stream(exchange: Exchange) -> None:
        async def pieces() -> AsyncGenerator[str, None]:
            for _ in range(2):
                yield str(limiter._shares.running)

        async def beginning() -> Stream:
            return Stream({}, pieces(), executor_pb2.Report())

        await exchange.stream_of(beginning())

    async def parameters(exchange: Exchange) -> None:
        await exchange.answer(orjson.dumps(exchange.parameters))

    async def mistake(_: Exchange) -> None:
        raise ZeroDivisionError("a secret of the server")

    async def wrong(exchange: Exchange) -> None:
        await exchange.body()
        raise errors.Invalid("no such field", param="field")

    async def slow(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.unless_caller_leaves(asyncio.Event().wait())

    async def quick(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(await exchange.unless_caller_leaves(asyncio.sleep(0, b"{}")))

    routes = [
        Route("POST", "/quick", quick),
        Route("POST", "/whole", whole),
        Route("POST", "/stream", stream),
        Route("POST", "/mistake", mistake),
        Route("POST", "/wrong", wrong),
        Route("POST", "/other/wrong", wrong, OTHER_API),
        Route("POST", "/slow", slow),
        Route("GET", "/things/{thing}", parameters),
        Route("DELETE", "/things/{thing}", parameters),
        Route("GET", "/paths/{rest:path}", parameters),
    ]
    # Nobody asks it: what is known of limits is looked at before.
    limits = cast("Limits", None)
    checks = EarlyChecks(cast("Authenticator", Keys()), limiter, MistakeLimit(2), limits)
    return Dispatcher(application.create([]), routes, checks, bodies)


@pytest.fixture
async def http(dispatcher: Dispatcher) -> AsyncIterator[httpx.AsyncClient]:
    app = application.with_middleware(dispatcher, origins=["https://app.example"])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"a" * 1501, {}), (gzip.compress(b"a" * 1501), {"content-encoding": "gzip"})],
    ids=["as it is", "unpacked"],
)
async def test_bodies_beyond_what_all_may_hold_are_refused_until_there_is_room(
    http: httpx.AsyncClient, bodies: ByteBudget, body: bytes, headers: dict[str, str]
) -> None:
    with bodies.lease() as another:
        assert another.take(500)
        refused = await http.post("/quick", content=body, headers=KEY | headers)
        assert 500 == bodies.held
    taken = await http.post("/quick", content=body, headers=KEY | headers)

    assert (429, "1") == (refused.status_code, refused.headers["retry-after"])
    assert "too many bytes" in refused.json()["error"]["message"]
    assert (200, 0) == (taken.status_code, bodies.held)


async def test_a_tenant_with_long_bodies_under_way_leaves_room_for_those_of_others(
    http: httpx.AsyncClient, bodies: ByteBudget
) -> None:
    answers = []
    for owner in ("organization:a", "organization:b"):
        with bodies.lease(owner) as earlier:
            assert earlier.take(900)
            answers.append(await http.post("/quick", content=b"a" * 700, headers=KEY))

    assert [429, 200] == [answer.status_code for answer in answers]
    assert "of your organization, or of yours" in answers[0].json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "mistakes"),
    [(b"[" * 2**20, 2), (b" " * (MAX_BODY + 1), 17)],
    ids=["too deep", "too long"],
)
async def test_a_refused_packed_body_counts_by_what_was_unpacked_of_it(
    limiter: ConcurrencyLimiter, body: bytes, mistakes: int
) -> None:
    async def read(exchange: Exchange) -> None:
        await exchange.body()

    limit = MistakeLimit(100)
    checks = EarlyChecks(cast("Authenticator", Keys()), limiter, limit, cast("Limits", None))
    app = Dispatcher(application.create([]), [Route("POST", "/read", read)], checks, ByteBudget(2 * MAX_BODY))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        packed = KEY | {"content-encoding": "gzip"}
        answer = await client.post("/read", content=gzip.compress(body), headers=packed)

    assert answer.status_code in (400, 413)
    assert {"k": mistakes} == limit._counts


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/whole", 200, '["organization:a",1,"hello","red"]'),
        ("/stream", 200, "data: 1\n\ndata: 1\n\ndata: [DONE]\n\n"),
        ("/mistake", 500, None),
    ],
)
async def test_a_place_is_held_until_the_answer_is_sent(
    http: httpx.AsyncClient, limiter: ConcurrencyLimiter, path: str, status: int, text: str | None
) -> None:
    answer = await http.post(path, headers={**KEY, "x-colour": "red"}, content=b"hello")

    assert status == answer.status_code
    assert text in (None, answer.text)
    assert 0 == limiter._shares.running


@pytest.mark.parametrize(("method", "status"), [("POST", 401), ("GET", 405)])
async def test_what_is_refused_before_takes_no_place(
    http: httpx.AsyncClient, limiter: ConcurrencyLimiter, method: str, status: int
) -> None:
    full = limiter._shares
    for i in range(2):
        full.enter(f"tenant-{i}", 1, 0.0, lambda: None)

    assert status == (await http.request(method, "/whole")).status_code


@pytest.mark.parametrize(
    ("method", "path", "code", "error"),
    [
        ("POST", "/wrong", 400, {"message": "no such field", "param": "field", "code": "invalid_request"}),
        ("POST", "/mistake", 500, {"message": "internal error", "type": "server_error", "code": "internal"}),
        ("PUT", "/whole", 405, {"message": "this route takes another method", "code": None}),
        ("POST", "/nothing", 404, {"message": "no route POST /nothing"}),
        ("POST", "/whole?a=%00", 400, {"param": "a"}),
    ],
)
async def test_every_error_has_openais_shape_and_an_id(
    http: httpx.AsyncClient, method: str, path: str, code: int, error: dict[str, object]
) -> None:
    answer = await http.request(method, path, headers=KEY, content=b"{}")

    assert code == answer.status_code
    assert {"message", "type", "param", "code"} == answer.json()["error"].keys()
    found = answer.json()["error"]
    assert error.items() <= {**found, "message": found["message"].partition(";")[0]}.items()
    assert answer.headers["x-request-id"]


async def test_errors_have_the_shape_of_the_routes_api(http: httpx.AsyncClient) -> None:
    refused = await http.post("/other/wrong")
    wrong = await http.post("/other/wrong", headers=KEY)

    assert (401, {"type": "error", "says": "this API key is not known"}) == (
        refused.status_code,
        refused.json(),
    )
    assert (400, {"type": "error", "says": "no such field"}) == (wrong.status_code, wrong.json())


async def test_who_sends_too_many_wrong_requests_is_refused_before_the_body_is_read(
    dispatcher: Dispatcher, http: httpx.AsyncClient
) -> None:
    for _ in range(2):
        await http.post("/wrong", headers=KEY)
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body is read")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in KEY.items()]
    await dispatcher({"type": "http", "method": "POST", "path": "/whole", "headers": headers}, receive, send)

    assert 429 == sent[0]["status"]
    assert "retry-after" in {name.decode() for name, _ in sent[0]["headers"]}


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/things/7", {"thing": "7"}),
        ("DELETE", "/things/7", {"thing": "7"}),
        ("GET", "/paths/a/b", {"rest": "a/b"}),
    ],
)
async def test_a_path_has_parameters_and_is_measured_by_its_route(
    http: httpx.AsyncClient, method: str, path: str, found: dict[str, str]
) -> None:
    assert found == (await http.request(method, path, headers=KEY)).json()

    seen = {sample.labels["route"] for metric in DURATION.collect() for sample in metric.samples}
    assert {"/things/{thing}", "/paths/{rest:path}"} & seen
    assert path not in seen


async def test_a_wrong_method_is_told_the_right_ones(http: httpx.AsyncClient) -> None:
    assert "GET, DELETE, HEAD, OPTIONS" == (await http.post("/things/7")).headers["allow"]


async def test_pages_of_the_given_origins_may_call(http: httpx.AsyncClient) -> None:
    answer = await http.post("/whole", headers={**KEY, "origin": "https://app.example"})

    assert "https://app.example" == answer.headers["access-control-allow-origin"]


async def test_a_request_takes_one_task_to_notice_that_its_caller_leaves(http: httpx.AsyncClient) -> None:
    made: list[str] = []

    def count(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **more)

    asyncio.get_running_loop().set_task_factory(count)
    try:
        for path in ("/whole", "/quick", "/stream"):
            (await http.post(path, headers=KEY)).raise_for_status()
    finally:
        asyncio.get_running_loop().set_task_factory(None)

    assert ["unless_caller_leaves.<locals>.watch"] * 2 == made


async def test_work_ends_and_its_place_is_free_when_the_caller_leaves(
    dispatcher: Dispatcher, limiter: ConcurrencyLimiter
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{}", "more_body": False},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in KEY.items()]
    await dispatcher({"type": "http", "method": "POST", "path": "/slow", "headers": headers}, receive, send)

    assert 499 == sent[0]["status"]
    assert 0 == limiter._shares.running
