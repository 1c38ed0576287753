"""Verdicts on their way to Portkey, which answers, refuses, hangs or is gone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from services.chassis.config import Mistakes, Secret, from_environ
from services.gateway.reports.portkey_feedback import DROPPED, MOST_WAITING, PortkeyFeedback
from services.gateway.settings import Settings
from tests import portkey
from tests.gateway.conftest import eventually
from tests.portkey import Portkey

KEY = "pk-canary"


@pytest.fixture
def fake() -> Iterator[Portkey]:
    with portkey.serving(KEY) as one:
        yield one


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as one:
        yield one


def feedback(client: httpx.AsyncClient, fake: Portkey, key: str = KEY) -> PortkeyFeedback:
    return PortkeyFeedback(client, f"{fake.address}/v1/feedback", Secret(key), retry_s=0.02)


async def test_a_verdict_arrives_in_portkeys_shape(client: httpx.AsyncClient, fake: Portkey) -> None:
    one = feedback(client, fake)
    async with one.sending():
        one.give("t1", 8, {"requestId": "r1"})
        told = await asyncio.to_thread(fake.wait_for_feedback, "t1")

    assert {"trace_id": "t1", "value": 8, "weight": 1.0, "metadata": {"requestId": "r1"}} == told


async def test_what_is_refused_for_a_while_is_sent_again_and_logged_once(
    client: httpx.AsyncClient, fake: Portkey, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fault = 503
    one = feedback(client, fake)
    async with one.sending():
        one.give("t1", 1, {})

        async def tried_again() -> bool:
            return fake.asked > 2

        await eventually(tried_again)
        fake.fault = 0
        await asyncio.to_thread(fake.wait_for_feedback, "t1")
    assert 1 == len(fake.feedback)
    assert 1 == sum("takes no feedback" in record.message for record in caplog.records)


async def test_what_is_refused_for_good_is_counted_and_its_key_is_not_logged(
    client: httpx.AsyncClient, fake: Portkey, caplog: pytest.LogCaptureFixture
) -> None:
    before = DROPPED._value.get()
    one = feedback(client, fake, "pk-wrong-canary")
    async with one.sending():
        one.give("t1", 1, {})

        async def counted() -> bool:
            return bool(DROPPED._value.get() - before == 1)

        await eventually(counted)
    assert [("Portkey refused 1 verdicts with 401", logging.ERROR)] == [
        (record.message, record.levelno) for record in caplog.records if "Portkey" in record.message
    ]
    assert "canary" not in caplog.text


async def test_what_a_frozen_portkey_leaves_waiting_is_bounded(
    client: httpx.AsyncClient, fake: Portkey
) -> None:
    fake.answers.clear()
    before = DROPPED._value.get()
    one = feedback(client, fake)
    async with one.sending():
        for _ in range(MOST_WAITING + 7):
            one.give("t1", 1, {})
        assert 7 == DROPPED._value.get() - before
    # Counted when the process ends.
    assert MOST_WAITING + 7 == DROPPED._value.get() - before


@pytest.mark.parametrize(
    "more",
    [
        {"LUMNI_PORTKEY_FEEDBACK": "https://api.portkey.ai/v1/feedback"},
        {"LUMNI_PORTKEY_FEEDBACK": "api.portkey.ai", "PORTKEY_API_KEY": "pk"},
    ],
)
def test_an_address_needs_a_scheme_and_a_key(more: dict[str, str]) -> None:
    needed = {"DATABASE_URL": "x", "REDIS_URL": "redis://x", "LUMNI_ADMIN_KEY": "sk-admin"}
    with pytest.raises(Mistakes, match="LUMNI_PORTKEY_FEEDBACK"):
        from_environ(Settings, {**needed, **more})
