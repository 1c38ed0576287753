"""Clients of other gateways and clouds come to the same routes, by their own paths, headers and habits."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import orjson
import pytest

from services.chassis import errors, offload
from services.chassis.byte_budget import ByteBudget
from services.gateway.config.plans import Plan
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Limits
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.requests import request_metadata
from services.gateway.rest import application, client_dialects, content
from services.gateway.rest.dispatcher import Dispatcher, Route
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.exchange import Exchange
from services.gateway.rest.middleware import DURATION
from services.gateway.rest.requests import MAX_BODY

KEY = {"authorization": "Bearer sk-good"}
CHAT = "/v1/chat/completions"
LONG = "x" * content.PACKED_FROM


class Keys:
    async def caller(self, key: str) -> Caller:
        if key != "sk-good":
            raise errors.Unauthenticated("this API key is not known")
        return Caller(key_id="k", plan=Plan("open"))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async def echo(exchange: Exchange) -> None:
        await exchange.answer(await exchange.body())

    async def model(exchange: Exchange) -> None:
        await exchange.answer(orjson.dumps(exchange.parameters))

    async def noted(exchange: Exchange) -> None:
        await exchange.answer(orjson.dumps(dict(request_metadata.noted.get())))

    routes = [
        Route("POST", CHAT, echo),
        Route("GET", "/v1/noted", noted),
        Route("GET", "/v1/models", model),
        Route("GET", "/v1/models/{name:path}", model),
    ]
    checks = EarlyChecks(
        cast("Authenticator", Keys()), ConcurrencyLimiter(8), MistakeLimit(0), cast("Limits", None)
    )
    app = Dispatcher(application.create([]), routes, checks, ByteBudget(2**20))
    transport = httpx.ASGITransport(
        application.with_middleware(app, origins=["https://app.example"]), raise_app_exceptions=False
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        f"{CHAT}/",
        "/chat/completions",
        "/chat/completions//",
        f"/openai{CHAT}",
        "/openai/chat/completions",
    ],
)
async def test_a_route_has_many_paths(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(path, headers=KEY, json={"model": "a"})

    assert (200, {"model": "a"}) == (answer.status_code, answer.json())
    seen = {sample.labels["route"] for metric in DURATION.collect() for sample in metric.samples}
    assert CHAT in seen
    assert path == CHAT or path not in seen


@pytest.mark.parametrize("body", [b"{}", b'{"model": "other"}', b' {"n": 1 } '])
async def test_azures_path_says_which_model_is_meant(http: httpx.AsyncClient, body: bytes) -> None:
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    answer = await http.post(path, headers={"api-key": "sk-good"}, content=body)

    assert {**json.loads(body), "model": "gpt-4o"} == answer.json()


@pytest.mark.parametrize(
    "path", ["/nothing", "/v2/chat/completions", "/openai/deployments/x", "/v1/v1/models"]
)
async def test_an_unknown_path_is_told_what_there_is(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(path, headers=KEY, json={})

    message = answer.json()["error"]["message"]
    assert 404 == answer.status_code
    assert message.startswith(f"no route POST {path}; there are ")
    assert f"POST {CHAT}, " in message


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "bearer sk-good"},
        {"api-key": "sk-good"},
        {"x-api-key": "sk-good"},
        {"x-portkey-api-key": "sk-good", "authorization": "Bearer sk-of-a-provider"},
        {"x-litellm-api-key": "Bearer sk-good"},
        {"authorization": "Basic abc", "x-api-key": "sk-good"},
    ],
)
async def test_a_key_may_stand_in_other_headers(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert 200 == (await http.get("/v1/models", headers=headers)).status_code


@pytest.mark.parametrize("name", ["authorization", "api-key", "x-portkey-api-key"])
async def test_two_keys_in_one_header_are_refused(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get("/v1/models", headers=[(name, "Bearer sk-good"), (name, "Bearer sk-other")])

    assert (400, name) == (answer.status_code, answer.json()["error"]["param"])


async def test_head_is_get_without_its_body(http: httpx.AsyncClient) -> None:
    whole, head = await http.get("/models/", headers=KEY), await http.head("/models/", headers=KEY)

    assert (200, b"") == (head.status_code, head.content)
    assert whole.headers["content-length"] == head.headers["content-length"]
    assert 405 == (await http.head(CHAT, headers=KEY)).status_code
    assert 401 == (await http.head("/v1/models")).status_code
    assert 200 == (await http.head("/openapi.json")).status_code


async def test_options_says_which_methods_there_are(http: httpx.AsyncClient) -> None:
    answer = await http.options("/models")

    assert (204, "GET, HEAD, OPTIONS") == (answer.status_code, answer.headers["allow"])


@pytest.mark.parametrize("method", application.METHODS)
async def test_a_page_may_ask_for_every_method(http: httpx.AsyncClient, method: str) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": method}

    answer = await http.options("/v1/models", headers=asked)

    assert 200 == answer.status_code
    assert method in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json", ""])
async def test_json_is_read_whatever_it_is_called(http: httpx.AsyncClient, kind: str) -> None:
    answer = await http.post(CHAT, headers={**KEY, "content-type": kind}, content=b"{}")

    assert 200 == answer.status_code


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-encoding", "br"),
    ],
)
async def test_another_type_is_refused_with_the_one_that_is_read(
    http: httpx.AsyncClient, name: str, value: str
) -> None:
    answer = await http.post(CHAT, headers={**KEY, name: value}, content=b"{}")

    error = answer.json()["error"]
    assert (415, name, "unsupported_media_type") == (answer.status_code, error["param"], error["code"])
    assert f"{name}: {value} is not read here; send" in error["message"]


@pytest.mark.parametrize("length", [10, offload.LONG // 2])
async def test_a_packed_body_is_unpacked(http: httpx.AsyncClient, length: int) -> None:
    body = orjson.dumps({"text": "".join(f"{i % 977}" for i in range(length))})
    answer = await http.post(CHAT, headers={**KEY, "content-encoding": "gzip"}, content=gzip.compress(body))

    assert json.loads(body) == answer.json()


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (b"no gzip", 400),
        (gzip.compress(b'{"a": 1}')[:-9], 400),
        # A bomb: 64 MiB in 64 KiB.
        (gzip.compress(b" " * (4 * MAX_BODY)), 413),
    ],
    ids=["none", "cut", "bomb"],
)
async def test_a_body_that_cannot_be_unpacked_is_refused(
    http: httpx.AsyncClient, packed: bytes, status: int
) -> None:
    answer = await http.post(CHAT, headers={**KEY, "content-encoding": "gzip"}, content=packed)

    assert status == answer.status_code


@pytest.mark.parametrize(
    ("accepted", "text", "is_packed"),
    [
        ("gzip, deflate", LONG, True),
        ("br;q=1, GZIP;q=0.5", LONG, True),
        ("gzip", LONG * 8, True),
        ("gzip;q=0", LONG, False),
        ("br", LONG, False),
        ("gzip", "short", False),
    ],
)
async def test_a_long_answer_is_packed_for_who_takes_it(
    http: httpx.AsyncClient, accepted: str, text: str, is_packed: bool
) -> None:
    answer = await http.post(CHAT, headers={**KEY, "accept-encoding": accepted}, json={"text": text})

    assert {"text": text} == answer.json()
    assert is_packed == ("gzip" == answer.headers.get("content-encoding"))
    assert is_packed == (int(answer.headers["content-length"]) < len(text))


@pytest.mark.parametrize("body", [b"", b"[]", b"no json"])
def test_a_body_that_is_no_object_is_left_to_whoever_reads_it(body: bytes) -> None:
    assert body == client_dialects.with_model(body, "gpt-4o")


async def test_what_a_caller_notes_is_echoed_and_read(http: httpx.AsyncClient) -> None:
    notes = {"x-portkey-trace-id": "t-1", "x-portkey-metadata": '{"team": "blue", "run": 7}'}

    answer = await http.get("/v1/noted", headers={**KEY, **notes})
    without = await http.get("/v1/noted", headers=KEY)
    refused = await http.get("/v1/noted", headers={**KEY, "x-portkey-metadata": "[1]"})

    assert {"trace_id": "t-1", "team": "blue", "run": "7"} == answer.json()
    assert notes.items() <= dict(answer.headers).items()
    assert {} == without.json()
    assert "x-portkey-trace-id" not in without.headers
    assert (400, "x-portkey-metadata") == (refused.status_code, refused.json()["error"]["param"])


def test_names_in_paths_cannot_add_fields() -> None:
    body: dict[str, Any] = json.loads(client_dialects.with_model(b"{}", 'a","stream":true,"x":"'))

    assert {"model": 'a","stream":true,"x":"'} == body
