"""Every fault, in every format, as the bare socket shows it."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from tests.simulator import Simulator
from tests.simulator.behaviour import STATUSES, Behaviour, of_model, parse


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=60) as http:
        yield http


PROVIDERS = ("openai", "anthropic", "gemini")
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
each_provider = pytest.mark.parametrize("provider", PROVIDERS)


def _call(provider: str, behaviour: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """A path and a body that ask a provider for a behaviour."""
    model = f"m-sim-{behaviour}"
    asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Say this"}]}
    match provider:
        case "openai":
            return "/v1/chat/completions", asked
        case "anthropic":
            return "/v1/messages", asked | {"max_tokens": 100}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}", {"contents": [{"parts": [{"text": "Say this"}]}]}


async def _ask(http: httpx.AsyncClient, provider: str, behaviour: str, *, stream: bool) -> httpx.Response:
    path, body = _call(provider, behaviour, stream=stream)
    return await http.post(path, json=body)


@each_provider
@both_ways
async def test_every_error_status_has_the_providers_own_shape(
    http: httpx.AsyncClient, simulator: Simulator, provider: str, stream: bool
) -> None:
    for status in sorted(STATUSES):
        response = await _ask(http, provider, f"{status}-retry-2", stream=stream)

        assert response.status_code == status
        error = response.json()["error"]
        assert error["message"]
        match provider:
            case "openai":
                assert set(error) == {"message", "type", "param", "code"}
                assert response.headers["retry-after"] == "2"
            case "anthropic":
                assert response.json()["type"] == "error"
                assert error["type"].endswith("error") or error["type"] == "request_too_large"
                assert response.headers["retry-after"] == "2"
            case "gemini":
                assert error["code"] == status
                assert error["details"][0]["retryDelay"] == "2s"
    assert (await simulator.counts())["outcomes"]["refused"]["requests"] == len(STATUSES)


@each_provider
@both_ways
async def test_a_body_can_be_wrong_in_every_way(
    http: httpx.AsyncClient, simulator: Simulator, provider: str, stream: bool
) -> None:
    malformed = await _ask(http, provider, "malformed", stream=stream)
    page = await _ask(http, provider, "html", stream=stream)
    bad_gateway = await _ask(http, provider, "502-html", stream=stream)
    empty = await _ask(http, provider, "empty", stream=stream)
    failed = await _ask(http, provider, "firsterror", stream=stream)

    lines = [line[6:] for line in malformed.text.splitlines() if line.startswith("data: {")] or [
        malformed.text
    ]
    with pytest.raises(orjson.JSONDecodeError):
        [orjson.loads(line) for line in lines]
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (bad_gateway.status_code, bad_gateway.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert (empty.status_code, empty.content) == (200, b"")
    error = failed.text.splitlines()[-2 if provider == "anthropic" and stream else 0].removeprefix("data: ")
    assert failed.status_code == 200
    assert "error" in orjson.loads(error)
    outcomes = (await simulator.counts())["outcomes"]
    assert (outcomes["broken"]["requests"], outcomes["refused"]["requests"]) == (4, 1)


@each_provider
@both_ways
async def test_a_connection_can_end_too_early(
    http: httpx.AsyncClient, simulator: Simulator, provider: str, stream: bool
) -> None:
    for behaviour in ("cut-3", "drop", "reset"):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await _ask(http, provider, behaviour, stream=stream)

    assert (await simulator.counts())["outcomes"]["broken"]["requests"] == 3


@each_provider
async def test_a_stream_can_end_silently_or_with_an_error(
    http: httpx.AsyncClient, simulator: Simulator, provider: str
) -> None:
    whole = (await _ask(http, provider, "x", stream=True)).text
    ended = (await _ask(http, provider, "end-5", stream=True)).text
    failed = (await _ask(http, provider, "error-5", stream=True)).text

    assert ended.count("data: ") == 5
    assert failed.count("data: ") == 6
    assert '"error"' in failed.splitlines()[-2]
    assert len(whole) > len(failed)
    partial = (await simulator.counts())["outcomes"]["broken"]
    # A piece of the answer is a token; heads of messages are not.
    tokens = {"openai": 4, "anthropic": 2, "gemini": 5}[provider]
    assert partial["completion_tokens"] == 2 * tokens


@each_provider
@both_ways
async def test_silence_lasts_until_the_caller_leaves_and_is_counted_as_abandoned(
    http: httpx.AsyncClient, simulator: Simulator, provider: str, stream: bool
) -> None:
    for behaviour in ("hang", "stall-3", "slow-60000", "wait-60000", "drip-60000"):
        path, body = _call(provider, behaviour, stream=stream)
        asking = asyncio.create_task(http.post(path, json=body, timeout=None))
        await simulator.until(lambda counts: counts["in_flight"] == 1)
        assert not asking.done()
        asking.cancel()
        await simulator.until(lambda counts: counts["in_flight"] == 0)

    counts = await simulator.until(lambda counts: counts["in_flight"] == 0)
    assert counts["closed_early"] == 5
    assert set(counts["outcomes"]) == {"abandoned"}
    assert counts["outcomes"]["abandoned"]["prompt_tokens"] == 25


@each_provider
@both_ways
async def test_errors_of_context_policy_and_quota_are_the_providers_own(
    http: httpx.AsyncClient, provider: str, stream: bool
) -> None:
    context, policy, quota = [
        await _ask(http, provider, name, stream=stream) for name in ("context", "policy", "quota")
    ]

    words = {
        "openai": "maximum context length",
        "anthropic": "prompt is too long",
        "gemini": "exceeds the maximum number of tokens",
    }
    assert context.status_code == 400
    assert words[provider] in context.json()["error"]["message"]
    assert policy.status_code == (200 if provider == "gemini" else 400)
    assert quota.status_code == (400 if provider == "anthropic" else 429)


@each_provider
@both_ways
async def test_usage_can_be_missing_and_is_counted_all_the_same(
    http: httpx.AsyncClient, simulator: Simulator, provider: str, stream: bool
) -> None:
    response = await _ask(http, provider, "nousage", stream=stream)

    assert '"usage":' not in response.text
    assert '"usageMetadata":' not in response.text
    assert (await simulator.counts())["outcomes"]["answered"]["completion_tokens"] == 16


@each_provider
async def test_pieces_come_one_by_one_with_the_pauses_asked_for(
    http: httpx.AsyncClient, provider: str
) -> None:
    path, body = _call(provider, "tokens-3-drip-5", stream=True)
    async with http.stream("POST", path, json=body) as response:
        pieces = [piece async for piece in response.aiter_raw()]

    assert len(pieces) >= 3


@each_provider
async def test_events_can_be_written_in_other_ways_and_mean_the_same(
    http: httpx.AsyncClient, provider: str
) -> None:
    plain = await _ask(http, provider, "x", stream=True)
    other = await _ask(http, provider, "split-crlf-ping", stream=True)

    def events(response: httpx.Response) -> list[str]:
        lines = response.text.replace("m-sim-split-crlf-ping", "m-sim-x").split("\n")
        return [
            re.sub('"[a-z]*_?-?(sim)?[0-9a-f]{8}"', "id", line.strip())
            for line in lines
            if line.startswith("data:")
        ]

    assert events(plain) == events(other)
    assert other.text.count(": ping\r\n\r\n") == len(events(other))


async def test_only_the_first_requests_of_a_model_go_wrong(http: httpx.AsyncClient) -> None:
    first = [(await _ask(http, "openai", "500-first-2", stream=False)).status_code for _ in range(4)]
    every = [(await _ask(http, "openai", "500-every-3", stream=False)).status_code for _ in range(6)]

    assert first == [500, 500, 200, 200]
    assert every == [500, 200, 200, 500, 200, 200]


async def test_a_limit_is_shown_in_headers_and_kept(http: httpx.AsyncClient) -> None:
    seen = [await _ask(http, "openai", "limit-2", stream=False) for _ in range(3)]

    assert [response.status_code for response in seen] == [200, 200, 429]
    assert [response.headers["x-ratelimit-remaining-requests"] for response in seen] == ["1", "0", "0"]
    assert seen[2].headers["retry-after"] == "1"


async def test_a_window_refuses_what_is_longer(http: httpx.AsyncClient) -> None:
    fits = await _ask(http, "openai", "window-5", stream=False)
    too_long = await _ask(http, "openai", "window-4", stream=False)

    assert (fits.status_code, too_long.json()["error"]["code"]) == (200, "context_length_exceeded")


async def test_a_script_outranks_the_name_and_then_stands(
    http: httpx.AsyncClient, simulator: Simulator
) -> None:
    await simulator.script("m-sim-x", ["503", "429-retry-1"], standing="500")
    seen = [(await _ask(http, "openai", "x", stream=False)).status_code for _ in range(4)]
    await simulator.script("m-sim-x", standing="")
    healed = (await _ask(http, "openai", "x", stream=False)).status_code
    await simulator.script("*", ["504"])
    anybody = (await _ask(http, "anthropic", "y", stream=False)).status_code

    assert (seen, healed, anybody) == ([503, 429, 500, 500], 200, 504)


async def test_a_header_may_say_the_behaviour(http: httpx.AsyncClient) -> None:
    path, body = _call("openai", "x", stream=False)

    assert (await http.post(path, json=body, headers={"x-sim": "403"})).status_code == 403


async def test_an_unknown_route_and_a_broken_request_are_refused(
    http: httpx.AsyncClient, simulator: Simulator
) -> None:
    unknown = await http.post("/v1/nothing", json={})
    broken = await http.post("/v1/chat/completions", content=b"{")
    lacking = await http.post("/v1/messages", json={"model": "m", "messages": []})

    assert [response.status_code for response in (unknown, broken, lacking)] == [404, 400, 400]
    assert lacking.json()["type"] == "error"
    assert (await simulator.counts())["in_flight"] == 0


def test_words_of_a_model_name_are_read_and_others_are_part_of_it() -> None:
    assert parse("429-retry-0.5-first-2") == Behaviour(status=429, retry=0.5, first=2)
    assert parse("tokens-500") == Behaviour(tokens=500)
    assert parse("burst-429") == Behaviour(burst=True, status=429)
    assert of_model("gpt-4o-mini-2024-07-18") == Behaviour()
    assert of_model("openai/gpt-4o-sim-drip-20") == Behaviour(drip=20)
    assert of_model("similar-500") == Behaviour()


async def test_a_caller_that_does_not_read_is_waited_for_and_seen_leaving(simulator: Simulator) -> None:
    host, port = simulator.url.removeprefix("http://").split(":")
    path, body = _call("openai", "tokens-60000", stream=True)
    content = orjson.dumps(body)
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"POST {path} HTTP/1.1\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
    await reader.readuntil(b"Echo")
    assert (await simulator.counts())["in_flight"] == 1
    writer.transport.abort()

    counts = await simulator.until(lambda counts: counts["in_flight"] == 0)
    assert 0 < counts["outcomes"]["abandoned"]["completion_tokens"] < 60000
