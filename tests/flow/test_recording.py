"""Requests that are recorded: in files, in spans, and as attempts in Portkey's logs."""

import asyncio
import json
from uuid import uuid4

import pytest

from tests.flow.operated import Operated
from tests.otlp import Collector

pytestmark = pytest.mark.asyncio(loop_scope="session")
TYPED = "sk-typed-0123456789abcdef"
REQUEST = {
    "model": "breaks",
    "messages": [{"role": "user", "content": f"What is 17 * 23? My key is {TYPED}."}],
}


async def test_a_streamed_answer_of_a_fallback_is_in_its_file_its_span_and_portkeys_logs(
    operated: Operated, collector: Collector
) -> None:
    client, folder, fake = operated.client, operated.folder, operated.portkey
    trace_id = uuid4().hex
    notes = {
        "traceparent": f"00-{trace_id}-b7ad6b7169203331-01",
        "x-portkey-metadata": '{"feature": "search"}',
    }
    answer = await client.post("/v1/chat/completions", json={**REQUEST, "stream": True}, headers=notes)
    request_id = answer.headers["x-request-id"]

    async with asyncio.timeout(60):
        while not (found := list(folder.glob(f"*_breaks_{request_id}.json"))):
            await asyncio.sleep(0.05)
    file = json.loads(found[0].read_text())
    assert (trace_id, "small@openai", None) == (file["trace_id"], file["answered_by"], file["error"])
    assert ["server_error", None] == [one["error"] for one in file["attempts"]]
    assert "My key is [redacted]." in file["request"]["messages"][0]["content"]
    text = file["response"]["texts"]["0.content"]
    assert text

    root = "POST /v1/chat/completions"
    spans = await asyncio.to_thread(collector.wait_for_names, trace_id, {root, "chat small"})
    shown = {
        one.key: one.value.string_value for span in spans if span.name == root for one in span.attributes
    }
    assert text in shown["gen_ai.output.messages"]
    assert "[redacted]" in shown["gen_ai.input.messages"]

    mine = await asyncio.to_thread(fake.wait_for_attempts, trace_id, 2)
    attempts = {span.span_id.hex(): span.name for span in spans if span.name in ("chat breaks", "chat small")}
    assert attempts == {one["metadata"]["spanId"]: one["metadata"]["spanName"] for one in mine}
    assert [500, 200] == [one["response"]["status"] for one in mine]
    assert {"feature": "search", "requestId": request_id}.items() <= mine[1]["metadata"].items()
    assert file["usage"]["prompt_tokens"] == mine[1]["response"]["body"]["usage"]["prompt_tokens"]
    assert not any(TYPED in str(one) for one in (file, spans, mine))


async def test_while_portkey_is_frozen_requests_are_answered(operated: Operated) -> None:
    client, fake = operated.client, operated.portkey
    fake.answers.clear()
    try:
        answers = await asyncio.gather(
            *(client.post("/v1/chat/completions", json=REQUEST) for _ in range(20))
        )
        assert {200} == {answer.status_code for answer in answers}
    finally:
        fake.answers.set()


async def test_feedback_reaches_portkey_under_the_trace_of_its_answer(operated: Operated) -> None:
    answer = await operated.client.post("/v1/chat/completions", json={**REQUEST, "model": "small"})
    request_id, trace_id = answer.headers["x-request-id"], answer.headers["x-lumni-trace-id"]
    given = await operated.client.post("/v1/feedback", json={"request_id": request_id, "value": -7})
    assert 200 == given.status_code

    told = await asyncio.to_thread(operated.portkey.wait_for_feedback, trace_id)
    assert (-7, 1.0, request_id) == (told["value"], told["weight"], told["metadata"]["requestId"])
