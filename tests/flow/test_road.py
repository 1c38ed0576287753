"""The whole road over real sockets: what an app sees."""

import asyncio
import json
import re

import httpx
import openai
import orjson
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.flow.stack import ADMIN_KEY, PAGE, Stack
from tests.gateway.conftest import eventually
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Count to five, please."}]
UUID7 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


@pytest.mark.arrangements
async def test_the_official_client_works_unchanged(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="auto", messages=QUESTION)

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model in ("small", "large")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert UUID7.match(str(answer._request_id))


@pytest.mark.arrangements
async def test_the_official_client_streams_unchanged(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="small",
        messages=QUESTION,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    *rest, last = chunks
    assert last.usage is not None
    assert not last.choices
    assert all(chunk.usage is None for chunk in rest)
    assert [c.choices[0].finish_reason for c in rest if c.choices and c.choices[0].finish_reason] == ["stop"]
    extra = last.model_extra
    assert extra is not None
    assert extra["lumni"]["cost"]["nano_usd"] > 0


async def test_without_include_usage_the_last_chunk_still_shows_the_cost(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="small", messages=QUESTION, stream=True)
    chunks = [chunk async for chunk in stream]

    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    extra = chunks[-1].model_extra
    assert extra is not None
    assert extra["lumni"]["deployment"] == "small@openai"


async def test_the_last_chunk_tells_the_cost_however_the_provider_spaces_its_json(
    http: httpx.AsyncClient,
) -> None:
    request = {
        "model": "sim-spaced",
        "messages": QUESTION,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    response = await http.post("/v1/chat/completions", json=request)
    *events, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    *rest, last = [orjson.loads(event) for event in events]

    assert "[DONE]" == done
    assert any('"finish_reason": "stop"' in event for event in events)
    assert last["usage"]["total_tokens"] > 0
    assert last["lumni"]["cost"]["nano_usd"] > 0
    assert all(chunk["choices"] and "lumni" not in chunk for chunk in rest)


async def test_the_client_lists_the_models(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]

    assert {"auto", "small", "large"} <= set(names)
    assert (await client.models.retrieve("small")).id == "small"
    assert (await client.models.retrieve("auto")).id == "auto"
    assert min([model.created async for model in client.models.list()]) > 1_500_000_000
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nothing")


@pytest.mark.arrangements
async def test_the_answer_says_what_was_decided_and_what_it_cost(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/chat/completions", json={"model": "auto", "messages": QUESTION})

    body = response.json()
    extra = body["lumni"]
    assert extra["classification"]["category"]
    assert 0 <= extra["classification"]["strong_win_rate"] <= 1
    assert extra["selection"]["tier"] in ("fast", "powerful")
    assert extra["selection"]["reason"]
    assert extra["deployment"] in extra["selection"]["candidates"]
    assert extra["degraded"] == []
    assert ["succeeded"] == [attempt["outcome"] for attempt in extra["attempts"]]
    rates = {"small": (100, 400), "large": (2500, 10000)}[body["model"]]
    usage = body["usage"]
    assert (
        extra["cost"]["nano_usd"] == usage["prompt_tokens"] * rates[0] + usage["completion_tokens"] * rates[1]
    )
    parts = [extra["cost"][f"{part}_usd"] for part in ("input", "cached", "output", "fees")]
    assert [
        usage["prompt_tokens"] * rates[0] / 1e9,
        0,
        usage["completion_tokens"] * rates[1] / 1e9,
        0,
    ] == parts
    assert extra["latency_ms"]["total"] >= extra["latency_ms"]["provider"]
    assert response.headers["x-request-id"] == extra["request_id"]
    assert response.headers["x-lumni-trace-id"] == extra["trace_id"]
    assert response.headers["x-lumni-tier"] == extra["selection"]["tier"]
    assert float(response.headers["x-lumni-cost-usd"]) == extra["cost"]["usd"]


async def test_unknown_fields_reach_the_provider_and_ours_do_not(
    http: httpx.AsyncClient, provider: Simulator
) -> None:
    marker = "canary-unknown-field"
    await http.post(
        "/v1/chat/completions",
        json={"model": "small", "messages": QUESTION, "surprise": marker, "lumni": {"task_type": "fast"}},
    )

    sent = next(r for r in reversed(await provider.requests()) if marker in json.dumps(r["body"]))
    assert sent["body"]["surprise"] == marker
    assert "lumni" not in sent["body"]
    # A missing output limit gets the plan's cap, so that the bill is bounded.
    assert 256 in (sent["body"].get("max_tokens"), sent["body"].get("max_completion_tokens"))


@pytest.mark.arrangements
async def test_a_failing_model_falls_back_and_the_answer_says_so(http: httpx.AsyncClient) -> None:
    body = (await http.post("/v1/chat/completions", json={"model": "breaks", "messages": QUESTION})).json()

    assert body["model"] == "small"
    assert [("breaks@openai", "failed"), ("small@openai", "succeeded")] == [
        (attempt["deployment"], attempt["outcome"]) for attempt in body["lumni"]["attempts"]
    ]


@pytest.mark.arrangements
async def test_a_stream_that_is_cut_ends_with_an_error_and_not_as_if_it_were_whole(
    http: httpx.AsyncClient,
) -> None:
    request = {"model": "cuts", "messages": QUESTION, "stream": True}
    response = await http.post("/v1/chat/completions", json=request)

    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert "[DONE]" not in events
    assert {"message", "type", "param", "code"} == orjson.loads(events[-1])["error"].keys()
    assert orjson.loads(events[0])["object"] == "chat.completion.chunk"


@pytest.mark.arrangements
@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_closes_the_providers_socket(
    stack: Stack, provider: Simulator, stream: bool
) -> None:
    before = await provider.counts()
    request = {"model": "hangs", "messages": QUESTION, "stream": stream}
    async with httpx.AsyncClient(base_url=stack.rest, headers=stack.headers, trust_env=False) as http:
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=request, timeout=None))
        await provider.until(lambda counts: counts["in_flight"] > before["in_flight"])
        assert not asking.done()
        asking.cancel()
        await asyncio.wait([asking])

    await provider.until(lambda counts: counts["closed_early"] > before["closed_early"])


@pytest.mark.parametrize(
    ("content", "headers", "status", "code", "param"),
    [
        (b"{", {}, 400, "invalid_json", None),
        (b"{}", {}, 400, "invalid_request", "messages"),
        (orjson.dumps({"messages": QUESTION, "model": "nothing"}), {}, 404, "model_not_found", "model"),
        (
            orjson.dumps({"messages": QUESTION, "temperature": "warm"}),
            {},
            400,
            "invalid_request",
            "temperature",
        ),
        (
            orjson.dumps({"messages": QUESTION}),
            {"authorization": "Bearer sk-lumni-wrong"},
            401,
            "invalid_api_key",
            None,
        ),
        (orjson.dumps({"messages": QUESTION}), {"authorization": ""}, 401, "invalid_api_key", None),
        (b" " * 20_000_000, {}, 413, "request_too_large", None),
    ],
)
async def test_bad_input_gets_an_openai_error_and_nothing_else(
    http: httpx.AsyncClient,
    content: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
    param: str | None,
) -> None:
    response = await http.post("/v1/chat/completions", content=content, headers=headers)

    assert response.status_code == status, response.text
    (error,) = response.json().values()
    assert {"message", "type", "param", "code"} == error.keys()
    assert (code, param) == (error["code"], error["param"])
    assert "Traceback" not in response.text


async def test_routes_that_do_not_exist_are_openai_errors_too(http: httpx.AsyncClient) -> None:
    for response in (await http.get("/v1/nothing"), await http.get("/v1/chat/completions")):
        assert response.status_code in (404, 405)
        assert {"message", "type", "param", "code"} == response.json()["error"].keys()


async def test_route_decides_without_calling_a_provider(http: httpx.AsyncClient, provider: Simulator) -> None:
    before = await provider.counts()
    body = (await http.post("/v1/route", json={"messages": QUESTION})).json()

    assert {"classification", "selection"} <= body.keys()
    assert {"tier", "candidates", "reason"} <= body["selection"].keys()
    assert body["selection"]["candidates"][0]["parts"]
    assert before["requests"] == (await provider.counts())["requests"]


async def test_a_hint_decides_the_tier(http: httpx.AsyncClient) -> None:
    for tier in ("fast", "powerful"):
        by_header = await http.post(
            "/v1/route", json={"messages": QUESTION}, headers={"x-lumni-task-type": tier}
        )
        by_body = await http.post("/v1/route", json={"messages": QUESTION, "lumni": {"task_type": tier}})
        assert by_header.json()["selection"]["tier"] == by_body.json()["selection"]["tier"] == tier


async def test_a_threshold_of_the_request_splits_fast_from_powerful(http: httpx.AsyncClient) -> None:
    for threshold, tier in ((0, "powerful"), (1, "fast")):
        asked = {"messages": QUESTION, "lumni": {"threshold": threshold}}
        assert tier == (await http.post("/v1/route", json=asked)).json()["selection"]["tier"]


async def test_a_key_may_have_a_share_of_powerful_models_of_its_own(http: httpx.AsyncClient) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    for share, tier in ((1, "powerful"), (0, "fast")):
        made = (await http.post("/admin/keys", json={"powerful_share": share}, headers=admin)).json()
        own = {"authorization": f"Bearer {made['key']}"}
        asked = await http.post("/v1/route", json={"messages": QUESTION}, headers=own)
        assert (share, tier) == (made["powerful_share"], asked.json()["selection"]["tier"])


@pytest.mark.arrangements
async def test_a_model_without_a_key_is_not_offered_and_says_what_it_lacks(http: httpx.AsyncClient) -> None:
    listed = [one["id"] for one in (await http.get("/v1/models")).json()["data"]]
    pinned = await http.post("/v1/chat/completions", json={"model": "keyless", "messages": QUESTION})

    assert {"auto", "small", "large"} <= set(listed)
    assert "keyless" not in listed
    assert 503 == pinned.status_code
    assert "key" in pinned.json()["error"]["message"]


async def test_a_caller_who_leaves_while_sending_is_no_failure(stack: Stack) -> None:
    log = stack.services["gateway"].log
    before = log.stat().st_size
    host, _, port = stack.rest.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {stack.headers['authorization']}\r\n"
    writer.write(f"{head}content-length: 1000\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()

    def said() -> str:
        return log.read_bytes()[before:].decode()

    async with asyncio.timeout(60):
        while "/v1/chat/completions 499" not in said():
            await asyncio.sleep(0.01)
    assert "a request failed" not in said()


async def test_a_page_may_call_as_openais_client_does_and_read_every_header(http: httpx.AsyncClient) -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang,x-stainless-retry-count",
    }
    allowed = await http.options("/v1/chat/completions", headers=asked)
    answer = await http.get("/v1/models", headers={"origin": PAGE})
    stranger = await http.get("/v1/models", headers={"origin": "https://elsewhere.example"})

    assert allowed.status_code == 200
    assert "x-stainless-lang" in allowed.headers["access-control-allow-headers"]
    assert PAGE == answer.headers["access-control-allow-origin"]
    assert "*" == answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.arrangements
async def test_health_names_every_part(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health/live")).json() == {"status": "ok"}

    async def all_well() -> bool:
        ready, parts = await http.get("/health/ready"), await http.get("/health")
        return (ready.status_code, parts.json()["status"]) == (200, "ok")

    # Each part has half a second to answer, which on a busy machine not every one keeps every time.
    await eventually(all_well)
    body = (await http.get("/health")).json()
    assert {"classifier", "selector", "executor", "redis", "postgres"} == body["parts"].keys()


async def test_metrics_are_for_the_admin_and_their_labels_are_bounded(http: httpx.AsyncClient) -> None:
    assert (await http.get("/metrics")).status_code == 403
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    before = (await http.get("/metrics", headers=admin)).text
    for i in range(50):
        await http.get(f"/scanned/{i}")
        await http.post("/v1/chat/completions", json={"messages": QUESTION, "model": f"junk-{i}"})
    after = (await http.get("/metrics", headers=admin)).text

    assert "lumni_http_request_duration_seconds" in after
    assert "scanned" not in after
    assert "junk" not in after
    series = [line.rsplit(" ", 1)[0] for line in after.splitlines() if "_bucket" in line]
    assert len(series) - len([line for line in before.splitlines() if "_bucket" in line]) < 100


@pytest.mark.arrangements
async def test_many_callers_at_once_each_get_their_own_answer(http: httpx.AsyncClient) -> None:
    async def ask(number: int) -> bool:
        word = f"word{number}"
        request = {"model": "small", "messages": [{"role": "user", "content": word}]}
        # A gateway that is short of CPU refuses some early, and they come again.
        while (answer := await http.post("/v1/chat/completions", json=request)).status_code in (429, 503):
            await asyncio.sleep(float(answer.headers["retry-after"]))
        return word in answer.json()["choices"][0]["message"]["content"]

    assert all(await asyncio.gather(*(ask(number) for number in range(64))))


@pytest.mark.arrangements
async def test_the_decisions_are_in_postgresql(http: httpx.AsyncClient, stack: Stack) -> None:
    import asyncpg

    response = await http.post("/v1/chat/completions", json={"model": "auto", "messages": QUESTION})
    request_id = response.headers["x-request-id"]

    connection = await asyncpg.connect(stack.database)
    try:
        async with asyncio.timeout(60):
            while not (
                await connection.fetchval(
                    "SELECT count(*) FROM task_classifications WHERE request_id = $1", request_id
                )
                and await connection.fetchval(
                    "SELECT count(*) FROM model_selections WHERE request_id = $1", request_id
                )
                and await connection.fetchval(
                    "SELECT sum(cost_nano_usd) FROM usage_records WHERE request_id = $1", request_id
                )
                == response.json()["lumni"]["cost"]["nano_usd"]
            ):
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
