"""The pages against real stores: what they show is the ledger's."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lumni.events.v1 import events_pb2

from services.chassis import errors, redis, redis_keys
from services.chassis.money import NANO
from services.gateway import postgres
from services.gateway.reports.requests import PAGE
from tests.dashboard import traffic
from tests.gateway.dashboard.conftest import EVIL, VIEWER_KEY, Peers, health


async def test_the_numbers_are_the_ledgers(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    happened = list(traffic.requests(datetime.now(UTC), timedelta(hours=2), 400))
    await traffic.write(pool, happened)
    cost = sum(event.attempt.cost_nano_usd for one in happened for event in one.attempts)
    by_user: dict[str, int] = {}
    for one in happened:
        for event in one.attempts:
            user = event.context.user_id
            by_user[user] = by_user.get(user, 0) + event.attempt.cost_nano_usd
    async with browser(VIEWER_KEY) as one:
        overview = (await one.get("/dashboard?period=6h")).text
        spend = (await one.get("/dashboard/spend?by=user&period=7d")).text

    def amounts(page: str) -> list[int]:
        return [round(float(text) * NANO) for text in re.findall(r'<data value="([^"]+)"', page)]

    assert cost == amounts(overview)[0]
    refused = sum(1 for one in happened if one.decision.refusal)
    assert refused > 0
    assert f"{refused} refused" in overview
    assert [cost, *sorted(by_user.values(), reverse=True)] == amounts(spend)


async def test_requests_are_found_page_by_page(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    happened = list(traffic.requests(datetime.now(UTC), timedelta(minutes=30), 130, seed=3))
    await traffic.write(pool, happened)
    expected = {one.decision.context.request_id for one in happened}
    found: list[str] = []
    async with browser(VIEWER_KEY) as one:
        path = "/dashboard/requests?period=6h"
        pages = 0
        while path:
            page = (await one.get(path)).text
            found += re.findall(r'href="/dashboard/requests/([^"]+)"', page)
            following = re.search(r'href="([^"]+)">Older requests', page)
            path = following[1].replace("&amp;", "&") if following else ""
            pages += 1

        async def of(**asked: str) -> set[str]:
            answer = await one.get("/dashboard/requests", params={"period": "6h", **asked})
            return set(re.findall(r'href="/dashboard/requests/([^"]+)"', answer.text))

        refused = {one.decision.context.request_id for one in happened if one.decision.refusal}
        retried = {one.decision.context.request_id for one in happened if len(one.attempts) > 1}
        assert refused
        assert retried
        assert (refused, retried) == (await of(outcome="refused"), await of(outcome="retried"))
        assert set() == await of(outcome="failed")
        user = happened[0].decision.context.user_id
        assert await of(user_id=user) == {
            one.decision.context.request_id for one in happened if one.decision.context.user_id == user
        }
        trace = happened[0].decision.context.traceparent.split("-")[1]
        opened = await one.get("/dashboard/requests", params={"q": trace})
        assert opened.headers["location"].endswith(happened[0].decision.context.request_id)
    assert 1 + 129 // PAGE == pages
    assert sorted(expected) == sorted(found)


@pytest.mark.parametrize(
    "asked", [{"at": "9999-12-31T23:59:59-05:00"}, {"at": "0001-01-01"}, {"at": "noon"}, {"outcome": "odd"}]
)
async def test_a_list_that_cannot_be_is_refused_by_its_field(
    browser: Callable[..., Any], asked: dict[str, str]
) -> None:
    async with browser(VIEWER_KEY) as one:
        page = await one.get("/dashboard/requests", params=asked)

    assert 400 == page.status_code
    assert f"{next(iter(asked))}: expected" in page.text


async def test_a_request_is_told_with_its_reasons(browser: Callable[..., Any], pool: postgres.Pool) -> None:
    happened = list(traffic.requests(datetime.now(UTC), timedelta(minutes=30), 60, seed=3))
    await traffic.write(pool, happened)
    told = next(one for one in happened if len(one.attempts) > 1)
    async with browser(VIEWER_KEY) as one:
        page = (await one.get(f"/dashboard/requests/{told.decision.context.request_id}")).text
        nobodys = await one.get("/dashboard/requests/01a200b2-9b21-7738-a285-3a46539b1d8c")
    assert told.decision.context.traceparent.split("-")[1] in page
    assert told.decision.classification.factors[0].name in page
    for candidate in told.decision.selection.candidates:
        assert candidate.deployment in page
        assert f"{candidate.score:.3f}" in page
    for event in told.attempts:
        assert event.attempt.deployment in page
    assert "server error" in page
    assert 404 == nobodys.status_code


async def test_an_answer_from_the_cache_is_an_answer(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    (told,) = traffic.requests(datetime.now(UTC), timedelta(seconds=1), 1, seed=7)
    (event,) = told.attempts
    event.kind, event.attempt.cost_nano_usd = events_pb2.USAGE_KIND_CACHED, 0
    await traffic.write(pool, [told])
    request = told.decision.context.request_id

    async with browser(VIEWER_KEY) as one:
        answered = (await one.get("/dashboard/requests?period=6h&outcome=answered")).text
        failed = (await one.get("/dashboard/requests?period=6h&outcome=failed")).text
        page = (await one.get(f"/dashboard/requests/{request}")).text
        overview = (await one.get("/dashboard?period=6h")).text

    assert (True, False) == (request in answered, request in failed)
    for text in (answered, page):
        assert '<span class="badge answered">' in text
        assert '<span class="badge failed">' not in text
    assert ": 1 cached</title>" in overview
    table = overview.rpartition("Attempts and spend by time")[2]
    column = re.findall(r"<th [^>]*>([^<]*)</th>", table).index("From cache")
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr><td.*?</tr>", table)]
    assert 1 == sum(int(row[column]) for row in rows)


async def test_the_models_page_shows_what_all_executors_know(
    browser: Callable[..., Any], client: redis.Redis
) -> None:
    for view in (health("a", 300), health("b", 200)):
        await client.hset(redis_keys.health(view.replica), EVIL, view.SerializeToString())
        await client.sadd(redis_keys.HEALTH_REPLICAS, view.replica)
    async with browser(VIEWER_KEY) as one:
        page = (await one.get("/dashboard/models")).text

    assert '<span class="badge open">open</span>' in page
    assert "As 2 executors see them" in page
    assert "200 of 1,500" in page


async def test_without_redis_the_models_page_shows_what_one_executor_knows(
    browser: Callable[..., Any],
) -> None:
    async with browser(VIEWER_KEY) as one:
        page = (await one.get("/dashboard/models")).text

    assert "one executor sees them" in page
    assert "300 of 1,500" in page


async def test_the_models_page_outlives_the_services_that_it_asks(
    browser: Callable[..., Any], peers: Peers
) -> None:
    peers.fault = errors.Unavailable("down")
    async with browser(VIEWER_KEY) as one:
        answer = await one.get("/dashboard/models")

    assert 200 == answer.status_code
    assert "Neither Redis nor an executor answers" in answer.text
    assert "The selector does not answer" in answer.text


async def test_a_slow_database_is_said_to_be_and_never_waited_for(
    browser: Callable[..., Any], pool: postgres.Pool
) -> None:
    async with browser(VIEWER_KEY) as one:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE usage_records, usage_metrics IN ACCESS EXCLUSIVE MODE")
            for path in ("", "/requests", "/spend"):
                answer = await one.get(f"/dashboard{path}")
                assert (503, True) == (answer.status_code, "cannot be read" in answer.text)
        # A failure is not remembered.
        assert 200 == (await one.get("/dashboard")).status_code


async def test_files_are_kept_by_browsers_as_long_as_their_text_is_the_same(
    browser: Callable[..., Any],
) -> None:
    async with browser() as one:
        page = (await one.get("/dashboard/sign-in")).text
        addresses = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page)
        assert 3 == len(addresses)
        for address in addresses:
            answer = await one.get(address)
            assert (200, True) == (answer.status_code, "immutable" in answer.headers["cache-control"])
        assert 404 == (await one.get("/dashboard/static/old/dashboard.css")).status_code
        assert 404 == (await one.get("/dashboard/static/old/..%2f..%2froutes.py")).status_code
