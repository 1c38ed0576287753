"""A request of a caller holds a slot from before its body is read until its answer is sent."""

from collections.abc import AsyncIterator
from typing import cast

import httpx
import pytest
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from services.chassis import errors
from services.gateway.config.plans import Plan
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.rest import application
from services.gateway.rest.inference_route import caller, inference_route

KEY = {"authorization": "Bearer sk-good"}


class Keys:
    async def caller(self, key: str) -> Caller:
        if key != "sk-good":
            raise errors.Unauthenticated("this API key is not known")
        return Caller(key_id="k", plan=Plan("open"), tenant="organization:a")


@pytest.fixture
def limiter() -> ConcurrencyLimiter:
    return ConcurrencyLimiter(1)


@pytest.fixture
async def http(limiter: ConcurrencyLimiter) -> AsyncIterator[httpx.AsyncClient]:
    routes = APIRouter(route_class=inference_route(cast("Authenticator", Keys()), limiter))

    @routes.post("/whole")
    async def whole(request: Request) -> Response:
        return Response(f"{caller(request).tenant} {limiter._shares.running}")

    @routes.post("/stream")
    async def stream() -> Response:
        async def pieces() -> AsyncIterator[str]:
            for _ in range(3):
                yield f"{limiter._shares.running} "

        return StreamingResponse(pieces())

    @routes.post("/mistake")
    async def mistake() -> Response:
        raise ZeroDivisionError

    transport = httpx.ASGITransport(application.create([routes]), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/whole", 200, "organization:a 1"), ("/stream", 200, "1 1 1 "), ("/mistake", 500, None)],
)
async def test_a_slot_is_held_until_the_answer_is_sent(
    http: httpx.AsyncClient, limiter: ConcurrencyLimiter, path: str, status: int, text: str | None
) -> None:
    answer = await http.post(path, headers=KEY)

    assert status == answer.status_code
    assert text in (None, answer.text)
    assert 0 == limiter._shares.running


@pytest.mark.parametrize(("method", "status"), [("POST", 401), ("GET", 405)])
async def test_what_is_refused_before_takes_no_slot(
    http: httpx.AsyncClient, limiter: ConcurrencyLimiter, method: str, status: int
) -> None:
    full = limiter._shares
    for i in range(2):
        full.enter(f"tenant-{i}", 1, lambda: None)

    assert status == (await http.request(method, "/whole")).status_code
