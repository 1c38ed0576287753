"""Whole answers, most of which are JSON."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response
from starlette.types import Send


class JsonResponse(Response):
    """JSON by orjson, for the routes of FastAPI."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Serialize; bytes and texts are JSON already."""
        if isinstance(content, str):
            return content.encode()
        return content if isinstance(content, bytes) else orjson.dumps(content)


def json_head(body: bytes, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers of a whole answer."""
    length = b"%d" % len(body)
    return [(b"content-type", b"application/json"), (b"content-length", length), *raw_headers(headers)]


async def send_json(
    send: Send, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": json_head(body, headers or {})})
    await send({"type": "http.response.body", "body": body})


async def send_content(send: Send, content: bytes, content_type: str, headers: Mapping[str, str]) -> None:
    """Send a whole answer that is no JSON."""
    head = [
        (b"content-type", content_type.encode("latin-1", "replace")),
        (b"content-length", b"%d" % len(content)),
        *raw_headers(headers),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": content})


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
