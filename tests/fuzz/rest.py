"""Every REST route, called with what schemathesis makes of the OpenAPI document, and with random bodies of chats."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from tests.fuzz import bodies

# Routes whose bodies the document does not describe: OpenAI does.
CHATS = ("/v1/chat/completions", "/v1/route", "/v1/feedback")
# What a provider, or a part that is busy, causes; 500 is ours.
NOT_OURS = (502, 503, 504)
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    def to_bytes(self) -> bytes:
        """As it is kept in a file."""
        shown = {**vars(self), "content": self.content.decode("latin-1")}
        return json.dumps(shown, indent=1).encode()

    @classmethod
    def from_bytes(cls, kept: bytes) -> "Sent":
        """As it was kept."""
        shown = json.loads(kept)
        return cls(**{**shown, "content": shown["content"].encode("latin-1")})


def operations(document: dict[str, Any]) -> dict[str, schemathesis.APIOperation[Any, Any, Any, Any]]:
    """The operations of an OpenAPI document, by method and path."""
    schema = schemathesis.openapi.from_dict(document)
    found = (result.ok() for result in schema.get_all_operations() if isinstance(result, Ok))
    return {operation.label: operation for operation in found}


def requests(operation: schemathesis.APIOperation[Any, Any, Any, Any]) -> st.SearchStrategy[Sent]:
    """Requests of an operation, as the document wants them and as it does not."""
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    made = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)).map(_sent)
    if operation.path not in CHATS:
        return made
    headers = {"content-type": "application/json"}
    return st.builds(
        lambda body: Sent("POST", operation.path, headers=headers, content=json.dumps(body).encode()),
        bodies.chats(),
    )


def _sent(case: Any) -> Sent:
    transported = case.as_transport_kwargs(base_url="")
    content = transported.get("data", b"")
    headers = {}
    if "json" in transported:
        content = json.dumps(transported["json"])
    if content and case.media_type:
        headers["content-type"] = case.media_type
    return Sent(
        case.method,
        case.formatted_path,
        {name: value for name, value in (case.query or {}).items() if value is not None},
        headers,
        content if isinstance(content, bytes) else str(content).encode("utf-8", "replace"),
    )


def check(http: httpx.Client, sent: Sent, key: str) -> str:
    """Send a request, and return the status of its answer.

    Raises:
        AssertionError: the answer blames the server, or is no error of OpenAI's shape.
    """
    try:
        request = http.build_request(
            sent.method,
            sent.path,
            params={name: str(value) for name, value in sent.query.items()},
            headers={**sent.headers, "authorization": f"Bearer {key}"},
            content=sent.content,
            timeout=TIMEOUT_S,
        )
    except (httpx.InvalidURL, UnicodeError, ValueError):
        # No HTTP client can say it.
        return "unsendable"
    answer = http.send(request)
    code = answer.status_code
    assert code < 500 or code in NOT_OURS, f"{sent.method} {sent.path}: {code} {answer.text[:200]}"
    if code >= 400 and not sent.path.startswith(("/health", "/metrics")):
        error = answer.json()["error"]
        assert {"message", "type", "param", "code"} <= error.keys(), error
        assert error["message"], error
    return str(code)
