"""Prompts and answers in spans: only by choice, redacted where that is chosen, in the conventions' form."""

import json
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from services.chassis import telemetry
from services.chassis.config import from_environ
from services.gateway.recording import record, sinks
from services.gateway.recording.record import Record
from services.gateway.recording.settings import Settings
from services.gateway.recording.span_texts import LONGEST

SECRET = "sk-test-0123456789ab"


async def shown(
    spans: InMemorySpanExporter, content: str, body: Any, *answers: Any, stream: bool = False
) -> dict[str, Any]:
    """The attributes of the span of a request."""
    asked = Record({}, json.dumps(body).encode(), stream=stream)
    for one in answers:
        asked.add(json.dumps(one))
    settings = from_environ(Settings, {"LUMNI_TRACE_CONTENT": content})
    async with sinks.opened(settings, None) as opened:
        with telemetry.server_span("request", ""):
            for sink in opened:
                sink.add(asked)
    (span,) = spans.get_finished_spans()
    return dict(span.attributes or {})


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


CHAT = {
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": f"keep {SECRET}"}]
}
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "kept"}}]}


@pytest.mark.parametrize(("content", "seen"), [("redacted", "keep [redacted]"), ("full", f"keep {SECRET}")])
async def test_a_span_says_what_was_asked_and_answered(
    spans: InMemorySpanExporter, content: str, seen: str
) -> None:
    found = await shown(spans, content, CHAT, ANSWER)

    assert [said("system", "be brief"), said("user", seen)] == json.loads(found["gen_ai.input.messages"])
    assert [said("assistant", "kept")] == json.loads(found["gen_ai.output.messages"])


async def test_by_default_a_span_has_no_text(spans: InMemorySpanExporter) -> None:
    assert {} == await shown(spans, "none", CHAT, ANSWER)


@pytest.mark.parametrize(
    ("body", "answer", "stream"),
    [
        ({"prompt": "hi"}, {"choices": [{"text": "ho"}]}, False),
        ({"input": "hi"}, {"output": [{"content": [{"type": "output_text", "text": "ho"}]}]}, False),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
            {"content": [{"type": "text", "text": "ho"}]},
            False,
        ),
        ({"prompt": "hi"}, {"choices": [{"index": 0, "delta": {"content": "ho"}}]}, True),
    ],
)
async def test_every_apis_texts_are_found(
    spans: InMemorySpanExporter, body: Any, answer: Any, stream: bool
) -> None:
    found = await shown(spans, "full", body, answer, stream=stream)

    assert [said("user", "hi")] == json.loads(found["gen_ai.input.messages"])
    assert [said("assistant", "ho")] == json.loads(found["gen_ai.output.messages"])


@pytest.mark.parametrize("length", [LONGEST, record.LONGEST])
async def test_texts_that_are_too_long_are_left_out_and_said_to_be(
    spans: InMemorySpanExporter, length: int
) -> None:
    assert {"lumni.texts_left_out": True} == await shown(spans, "full", {"prompt": "x" * length}, ANSWER)


async def test_texts_cost_nothing_where_no_trace_is_recorded(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry._sampling, "by", TraceIdRatioBased(0))
    monkeypatch.setattr(Record, "sides", None)
    settings = from_environ(Settings, {"LUMNI_TRACE_CONTENT": "full"})
    async with sinks.opened(settings, None) as (sink,):
        with telemetry.server_span("request", ""):
            sink.add(Record({}, b"{}", stream=False))

    assert () == spans.get_finished_spans()
