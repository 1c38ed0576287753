"""Health, which strangers may ask for as often as they like."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest import application, operations
from services.gateway.rest.draining import Draining

KEYS = object.__new__(Authenticator)


class Part:
    """A part that takes its time and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.up = True

    async def answers(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0.01)
        return self.up


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def draining() -> Draining:
    return Draining()


@pytest.fixture
async def http(part: Part, draining: Draining) -> AsyncIterator[httpx.AsyncClient]:
    routes = operations.router(KEYS, {"executor": part.answers}, draining)
    transport = httpx.ASGITransport(application.with_middleware(application.create([routes])))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def test_a_part_is_asked_once_for_all_who_ask(http: httpx.AsyncClient, part: Part) -> None:
    answers = await asyncio.gather(*(http.get("/health") for _ in range(50)), http.get("/health/ready"))

    assert {200} == {answer.status_code for answer in answers}
    assert {"status": "ok", "parts": {"executor": "ok"}} == answers[0].json()
    assert 1 == part.asked


async def test_an_answer_is_good_for_a_moment(
    http: httpx.AsyncClient, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "REMEMBERED_S", 0.05)
    assert 200 == (await http.get("/health/ready")).status_code
    part.up = False
    await asyncio.sleep(0.1)

    assert 503 == (await http.get("/health/ready")).status_code
    assert 2 == part.asked


async def test_who_leaves_does_not_take_the_answer_along(part: Part) -> None:
    check = operations.Remembered(part.answers)
    leaves = asyncio.create_task(check.answers())
    stays = asyncio.create_task(check.answers())
    await asyncio.sleep(0)
    leaves.cancel()

    assert await stays
    assert 1 == part.asked


async def test_a_process_that_is_about_to_stop_is_alive_and_not_ready(
    http: httpx.AsyncClient, draining: Draining
) -> None:
    draining.begun = True
    ready, live = await http.get("/health/ready"), await http.get("/health/live")

    assert (503, {"status": "draining"}, 200) == (ready.status_code, ready.json(), live.status_code)
