"""Health, which strangers may ask for as often as they like."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from services.chassis import telemetry
from services.gateway.keys.authenticator import Authenticator
from services.gateway.rest import application, middleware, operations
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


async def test_a_scrape_shows_the_trace_of_a_request_by_its_duration_where_it_was_recorded(
    http: httpx.AsyncClient, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def admits(self: Authenticator, key: str) -> None:
        """Anybody."""

    async def scraped(accept: str) -> str:
        return (await http.get("/metrics", headers={"accept": accept})).text

    monkeypatch.setattr(Authenticator, "admin", admits)
    recorded = (await http.get("/elsewhere")).headers["x-lumni-trace-id"]
    open_metrics, plain = await scraped("application/openmetrics-text"), await scraped("text/plain")
    monkeypatch.setattr(telemetry._sampling, "by", TraceIdRatioBased(0))
    other = (await http.get("/elsewhere")).headers["x-lumni-trace-id"]

    examples = [
        line
        for line in open_metrics.splitlines()
        if line.startswith("lumni_http_request_duration_seconds_bucket") and recorded in line
    ]
    assert 1 == len(examples)
    assert 'route="other"' in examples[0]
    assert f' # {{trace_id="{recorded}"}} ' in examples[0]
    # The older format has no place for any.
    assert recorded not in plain
    assert len(other) == 32
    assert other not in await scraped("application/openmetrics-text")


async def test_who_watches_the_gateway_is_not_traced_and_logged_only_where_something_is_wrong(
    http: httpx.AsyncClient,
    part: Part,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name == middleware.__name__]

    monkeypatch.setattr(operations, "REMEMBERED_S", 0)
    caplog.set_level(logging.INFO)
    for path in ("/health", "/health/live", "/health/ready"):
        assert 200 == (await http.get(path)).status_code
    assert [] == said()
    part.up = False
    assert 503 == (await http.get("/health/ready")).status_code
    assert 404 == (await http.get("/elsewhere")).status_code

    assert ["GET /health/ready 503", "GET other 404"] == said()
    assert ["GET other"] == [span.name for span in spans.get_finished_spans()]


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
