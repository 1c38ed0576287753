"""Messages to a webhook that answers, refuses, hangs or is gone."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.alerts import messenger
from services.gateway.alerts.messenger import Messenger
from tests.webhook import Webhook, listening


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    async with listening() as one:
        yield one


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        yield client


async def test_each_change_is_told_once(webhook: Webhook, http: httpx.AsyncClient) -> None:
    one = Messenger(http, webhook.address, "slack")
    for _ in range(3):
        await one.tell({"LumniLedgerPoison": "2 events"})
    for _ in range(3):
        await one.tell({})

    assert [
        "[FIRING] LumniLedgerPoison: 2 events (docs/monitoring.md#lumniledgerpoison)",
        "[RESOLVED] LumniLedgerPoison: it is over (docs/monitoring.md#lumniledgerpoison)",
    ] == [message["text"] for message in webhook.messages]


async def test_programs_get_fields(webhook: Webhook, http: httpx.AsyncClient) -> None:
    await Messenger(http, webhook.address, "json").tell({"LumniLedgerPoison": "2 events"})

    [message] = webhook.messages
    assert ("LumniLedgerPoison", "firing", "2 events") == tuple(
        message[name] for name in ("alert", "state", "summary")
    )


async def test_what_was_not_taken_is_told_again_and_logged_once(
    webhook: Webhook, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.status = 500
    one = Messenger(http, webhook.address, "slack")
    with caplog.at_level(logging.INFO, logger="services"):
        for _ in range(3):
            await one.tell({"A": "text"})
        webhook.status = 200
        for _ in range(3):
            await one.tell({"A": "text"})

    assert 4 == len(webhook.messages)
    own = [record.message for record in caplog.records if record.name == messenger.log.name]
    assert [
        "the alerts' webhook takes no messages: ConnectionError: it answers 500",
        "the alerts' webhook takes messages",
        "told that A is firing",
    ] == own
    assert "canary" not in caplog.text


async def test_a_webhook_that_hangs_is_waited_for_no_longer_than_its_deadline(
    webhook: Webhook, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "TIMEOUT_S", 0.2)
    webhook.hangs = True
    one = Messenger(http, webhook.address, "slack")

    async with asyncio.timeout(60):
        await one.tell({"A": "text"})

    assert 1 == len(webhook.messages)
