"""Who is known to be over a limit is refused before anything else is done for the request."""

import json
import logging
from typing import cast

import pytest
from starlette.types import Message, Receive, Scope, Send

from services.chassis import errors
from services.chassis.byte_budget import ByteBudget
from services.gateway.config.plans import Plan
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Limits
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.limits.refusal import Refusal
from services.gateway.rest import early_refusals
from services.gateway.rest.dispatcher import Dispatcher, Route
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.early_refusals import EarlyRefusals
from services.gateway.rest.exchange import Exchange

KEYS = {
    "sk-greedy": Caller(key_id="greedy", plan=Plan("open"), tenant="organization:greedy"),
    "sk-modest": Caller(key_id="modest", plan=Plan("open"), tenant="organization:modest"),
}
REFUSAL = Refusal(
    subject="key:modest", kind="requests", limit=3, retry_ms=2500, reset_ms=2500, cacheable_ms=2500,
    requests={"limit": 3, "remaining": 0},
)  # fmt: skip


class KnownKeys:
    """Knows its keys by heart."""

    def remembered(self, key: str) -> Caller | None:
        return KEYS.get(key)


class KnownRefusals:
    """What the limits remember: a refusal for each key."""

    def __init__(self) -> None:
        self.of: dict[str, Refusal] = {}

    def refusal(self, caller: Caller) -> errors.Exhausted | None:
        found = self.of.get(caller.key_id)
        return found.fault("memory") if found else None


class Gateway:
    """Early refusals before an application that answers 200."""

    def __init__(self) -> None:
        self.limiter = ConcurrencyLimiter(1, hold_s=0)
        self.mistakes = MistakeLimit(1)
        self.limits = KnownRefusals()
        checks = EarlyChecks(
            cast("Authenticator", KnownKeys()), self.limiter, self.mistakes, cast("Limits", self.limits)
        )

        async def unreached(_: Exchange) -> None:
            raise AssertionError("the application below answers")

        dispatcher = Dispatcher(self._answer, [Route("POST", "/chat", unreached)], checks, ByteBudget(0))
        self.app = EarlyRefusals(self._answer, dispatcher, checks)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def fill(self) -> None:
        """The greedy tenant runs what it may, and the queue is full of its requests."""
        for _ in range(2):
            self.limiter._shares.enter("organization:greedy", 1, 0.0, lambda: None)

    async def ask(
        self, key: str, *more: tuple[bytes, bytes], path: str = "/chat", header: bytes = b"authorization"
    ) -> tuple[int, dict[str, str], bytes]:
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("the body is read")

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(header, f"Bearer {key}".encode()), *more]
        await self.app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
        shown = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], shown, sent[1]["body"]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


async def test_a_tenant_that_fills_the_queue_is_refused_and_others_go_on(gateway: Gateway) -> None:
    gateway.fill()

    code, headers, body = await gateway.ask("sk-greedy")

    assert (429, "1", str(len(body))) == (code, headers["retry-after"], headers["content-length"])
    assert {"message", "type", "param", "code"} == json.loads(body)["error"].keys()
    assert "overloaded" == json.loads(body)["error"]["code"]
    assert 200 == (await gateway.ask("sk-modest"))[0]


@pytest.mark.parametrize("header", [b"x-api-key", b"api-key", b"x-portkey-api-key"])
async def test_the_key_counts_in_whichever_header_it_comes(gateway: Gateway, header: bytes) -> None:
    gateway.fill()

    assert 429 == (await gateway.ask("sk-greedy", header=header))[0]
    assert 200 == (await gateway.ask("sk-modest", header=header))[0]


async def test_each_refusal_has_an_id_of_its_own(gateway: Gateway) -> None:
    gateway.fill()

    ids = {(await gateway.ask("sk-greedy"))[1]["x-request-id"] for _ in range(3)}

    assert 3 == len(ids)


async def test_a_remembered_refusal_is_repeated_with_its_limits(gateway: Gateway) -> None:
    gateway.limits.of["modest"] = REFUSAL

    code, headers, body = await gateway.ask("sk-modest")

    assert (429, "3", "2500") == (code, headers["retry-after"], headers["retry-after-ms"])
    assert ("3", "0") == (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"])
    assert "rate_limit_exceeded" == json.loads(body)["error"]["code"]


async def test_who_sent_too_many_wrong_requests_is_refused(gateway: Gateway) -> None:
    with pytest.raises(errors.Invalid), gateway.mistakes.guarding("modest"):
        raise errors.Invalid("wrong")

    assert 429 == (await gateway.ask("sk-modest"))[0]


@pytest.mark.parametrize(
    "more",
    [
        # Another layer adds the headers without which a page cannot read the refusal.
        [(b"origin", b"https://app.example")],
        # A 400 says that there may be one.
        [(b"authorization", b"Bearer sk-greedy")],
    ],
)
async def test_what_another_layer_has_to_look_at_goes_on(
    gateway: Gateway, more: list[tuple[bytes, bytes]]
) -> None:
    gateway.fill()

    assert 200 == (await gateway.ask("sk-greedy", *more))[0]


@pytest.mark.parametrize(("key", "path"), [("sk-unknown", "/chat"), ("sk-greedy", "/health")])
async def test_unknown_keys_and_other_paths_go_on(gateway: Gateway, key: str, path: str) -> None:
    gateway.fill()

    assert 200 == (await gateway.ask(key, path=path))[0]


async def test_one_line_tells_of_many_refusals(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.fill()
    for _ in range(5):
        await gateway.ask("sk-greedy")

    with caplog.at_level(logging.INFO):
        gateway.app._log._write()

    assert [("organization:greedy", 5)] == [
        (one.__dict__["tenant"], one.__dict__["requests"]) for one in caplog.records
    ]


async def test_tenants_beyond_the_first_share_a_line(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(early_refusals.NAMED + 2):
        gateway.app._log.add(f"organization:{i}")

    with caplog.at_level(logging.INFO):
        gateway.app._log._write()

    lines = {one.__dict__["tenant"]: one.__dict__["requests"] for one in caplog.records}
    assert (early_refusals.NAMED + 1, 2) == (len(lines), lines[early_refusals.OTHERS])
