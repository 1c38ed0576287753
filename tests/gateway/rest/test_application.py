"""What every route has in common: ids, and errors in OpenAI's shape."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, Request

from services.chassis import errors
from services.gateway.rest import application, client_dialects
from services.gateway.rest.middleware import DURATION

routes = APIRouter()


@routes.get("/number/{value}")
async def number(value: int) -> int:
    return value


@routes.get("/refused")
async def refused() -> None:
    raise errors.Exhausted("wait", reason="RATE_LIMIT_EXCEEDED", retry_after_s=2.5)


@routes.get("/key")
async def key(request: Request) -> str:
    return client_dialects.key(request.scope)


@routes.get("/mistake")
async def mistake() -> None:
    raise ZeroDivisionError("a secret of the server")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(
        application.with_middleware(application.create([routes])), raise_app_exceptions=False
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "code", "error"),
    [
        (
            "GET",
            "/number/x",
            400,
            {"type": "invalid_request_error", "param": "value", "code": "invalid_request"},
        ),
        ("GET", "/refused", 429, {"message": "wait", "code": "rate_limit_exceeded"}),
        ("GET", "/mistake", 500, {"message": "internal error", "type": "server_error", "code": "internal"}),
        ("GET", "/nothing", 404, {"message": "no route GET /nothing", "type": "invalid_request_error"}),
        ("POST", "/refused", 405, {"message": "this route takes another method", "code": None}),
        ("GET", "/refused/", 404, {"message": "no route GET /refused/"}),
        ("GET", "/docs", 404, {"message": "no route GET /docs"}),
        ("GET", "/number/%00", 400, {"param": "path", "code": "invalid_request"}),
        ("GET", "/number/1?a=1&b=x%00", 400, {"param": "b", "code": "invalid_request"}),
        ("GET", "/number/1?a%00=1", 400, {"param": "a", "code": "invalid_request"}),
        ("PUT", "/nothing/%00", 400, {"param": "path"}),
    ],
)
async def test_every_error_has_openais_shape_and_an_id(
    http: httpx.AsyncClient, method: str, path: str, code: int, error: dict[str, object]
) -> None:
    answer = await http.request(method, path)

    assert code == answer.status_code
    assert {"message", "type", "param", "code"} == answer.json()["error"].keys()
    found = answer.json()["error"]
    assert error.items() <= {**found, "message": found["message"].partition(";")[0]}.items()
    assert answer.headers["x-request-id"]


async def test_a_refusal_says_when_to_try_again(http: httpx.AsyncClient) -> None:
    answer = await http.get("/refused")

    assert ("3", "2500") == (answer.headers["retry-after"], answer.headers["retry-after-ms"])


async def test_a_caller_cannot_choose_the_id(http: httpx.AsyncClient) -> None:
    answers = [await http.get("/number/1", headers={"x-request-id": "mine"}) for _ in range(2)]

    ids = {one.headers["x-request-id"] for one in answers}
    assert 2 == len(ids - {"mine"})


async def test_paths_are_measured_by_their_route(http: httpx.AsyncClient) -> None:
    for path in ("/number/4711", "/wp-login.php"):
        await http.get(path)

    routes_seen = {sample.labels["route"] for metric in DURATION.collect() for sample in metric.samples}
    assert {"/number/{value}", "other"} <= routes_seen
    assert not any("4711" in route or "wp-login" in route for route in routes_seen)


async def test_a_wrong_method_is_told_the_right_one(http: httpx.AsyncClient) -> None:
    assert "GET" == (await http.post("/refused")).headers["allow"]


async def test_no_redirect_goes_where_the_host_header_says(http: httpx.AsyncClient) -> None:
    answer = await http.get("/refused/", headers={"host": "evil.example"})

    assert 404 == answer.status_code
    assert "location" not in answer.headers


async def test_a_page_that_may_not_call_is_told_so_in_openais_shape() -> None:
    transport = httpx.ASGITransport(
        application.with_middleware(application.create([routes]), origins=["https://app.example"])
    )
    asked = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.options("/refused", headers=asked)
        may = await client.options("/refused", headers={**asked, "origin": "https://app.example"})

    assert 400 == answer.status_code
    assert {"message", "type", "param", "code"} == answer.json()["error"].keys()
    assert "access-control-allow-origin" not in answer.headers
    assert 200 == may.status_code


async def test_two_authorization_headers_are_refused(http: httpx.AsyncClient) -> None:
    two = [("authorization", "Bearer sk-a"), ("authorization", "Bearer sk-b")]
    answer = await http.get("/key", headers=two)

    assert (400, "authorization") == (answer.status_code, answer.json()["error"]["param"])
