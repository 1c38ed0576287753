"""Attempts as entries of Portkey's logs (`POST /v1/logs`), for those who do not send it traces by OTLP.

An entry is made of an attempt's span and has its ids, so a request has the same trace id here and there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

# What the metadata of an entry say, and by which attribute of the span. Portkey groups by `_user`.
METADATA = {
    "requestId": "lumni.request_id",
    "_user": "user.id",
    "organization": "lumni.organization_id",
    "keyId": "lumni.key_id",
    "plan": "lumni.plan",
    "deployment": "lumni.deployment",
    "costNanoUsd": "lumni.cost_nano_usd",
}
CALLERS_METADATA = "lumni.metadata."
NANO = 1_000_000_000


class PortkeyLogExporter(SpanExporter):
    """Sends spans, each of an attempt, as entries.

    Args:
        address: Of the logs API.
        headers: Which hold the API key.
        timeout_s: Seconds to connect, and to wait for each part of the answer.
    """

    def __init__(self, address: str, headers: Mapping[str, str], *, timeout_s: float) -> None:
        # Some MiB, and only those who send entries pay for it.
        import requests

        self._address = address
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.headers.update({**headers, "content-type": "application/json"})

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send once, for an entry has no id by which Portkey would know a second one."""
        entries = [entry(span) for span in spans]
        try:
            # The body is not read: nothing in it is of use, and it may not end.
            with self._session.post(
                self._address, data=orjson.dumps(entries), timeout=self._timeout_s, stream=True
            ) as answer:
                return SpanExportResult.SUCCESS if answer.ok else SpanExportResult.FAILURE
        except OSError:
            # As all failures of requests are.
            return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the connections."""
        self._session.close()


def is_attempt(span: ReadableSpan) -> bool:
    """Whether a span is that of an attempt."""
    return span.kind is SpanKind.CLIENT and "gen_ai.provider.name" in (span.attributes or {})


def entry(span: ReadableSpan) -> dict[str, Any]:
    """The entry of an attempt, in the names that Portkey's own exporter uses."""
    attributes: Mapping[str, Any] = span.attributes or {}
    assert span.context is not None
    model = attributes["gen_ai.request.model"]
    tokens = {
        "prompt_tokens": attributes.get("gen_ai.usage.input_tokens", 0),
        "completion_tokens": attributes.get("gen_ai.usage.output_tokens", 0),
    }
    took_ms = ((span.end_time or 0) - (span.start_time or 0)) // 1_000_000
    error = attributes.get("error.type")
    answer: dict[str, Any] = {"model": model, "usage": {**tokens, "total_tokens": sum(tokens.values())}}
    if error:
        answer["error"] = {"type": error}
    return {
        "request": {
            # Required; where a provider was called in full is the executor's own business.
            "url": f"lumni://{attributes['lumni.deployment']}",
            "method": "POST",
            "provider": attributes["gen_ai.provider.name"],
            "headers": {},
            "body": {"model": model},
        },
        "response": {
            "status": attributes.get("http.response.status_code", 500 if error else 200),
            "headers": {},
            "body": answer,
            "response_time": took_ms,
        },
        "metadata": {
            **{
                name.removeprefix(CALLERS_METADATA): value
                for name, value in attributes.items()
                if name.startswith(CALLERS_METADATA)
            },
            **{name: attributes[given] for name, given in METADATA.items() if given in attributes},
            "traceId": format_trace_id(span.context.trace_id),
            "spanId": format_span_id(span.context.span_id),
            "parentSpanId": format_span_id(span.parent.span_id) if span.parent else "",
            "spanName": span.name,
            "costUsd": attributes.get("lumni.cost_nano_usd", 0) / NANO,
        },
    }
