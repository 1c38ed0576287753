"""Requests that are wrong in ways which frameworks, parsers and databases answer by themselves.

python -m tests.attacks.framework_errors
"""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from tests.attacks import target as targets
from tests.attacks.target import Target

NAME = "errors of the framework"
CHAT = "/v1/chat/completions"
HI = '"messages":[{"role":"user","content":"hi"}],"model":"small"'
ADMIN_PATHS = (
    "/admin/keys/{}",
    "/admin/keys/{}/rotate",
    "/admin/keys/{}/revoke",
    "/admin/keys/{}/reset-limits",
    "/admin/users/{}",
    "/admin/users/{}/export",
    "/admin/users/{}/keys",
    "/admin/users/{}/keys/revoke",
    "/admin/organizations/{}",
    "/usage/{}",
    "/v1/models/{}",
)
ODD = ("%00", "a%00b", "%ff", "%ed%a0%80", "..%2f..", "'", "a" * 3000, "%0d%0ax:%20y", "\U0001f600")
DATES = (
    "0001-01-01",
    "9999-12-31",
    "0001-01-01T00:00:00%2B14:00",
    "9999-12-31T23:59:59-14:00",
    "x",
    "%00",
    "1e300",
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD")


def nested(levels: int) -> bytes:
    """A chat with a field of so many levels."""
    return ("{" + HI + ',"x":' + "[" * levels + "]" * levels + "}").encode()


async def attack(target: Target, *, seconds: float) -> list[str]:
    """Send each of them once, and again until the time is over."""
    ends = asyncio.get_running_loop().time() + seconds
    sent = 0
    async with httpx.AsyncClient(base_url=target.rest, trust_env=False, timeout=30) as http:
        while True:
            for method, path, body, headers in _requests(target):
                answer = await http.request(method, path, content=body, headers=headers)
                _check(answer, f"{method} {path[:80]}")
                sent += 1
            if asyncio.get_running_loop().time() > ends:
                break
    for raw, status in _RAW:
        await _check_raw(target, raw, status)
    return [
        f"{sent} wrong requests: none was a 5xx, every error had OpenAI's four keys",
        f"{len(_RAW)} requests that are no HTTP, or too much of it, were refused in the same shape",
    ]


def _requests(target: Target) -> list[tuple[str, str, bytes | None, dict[str, str]]]:
    own = target.headers
    admin = {"authorization": f"Bearer {target.admin_key}"}
    some: list[tuple[str, str, bytes | None, dict[str, str]]] = [
        ("POST", CHAT, nested(levels), own) for levels in (63, 65, 253, 254, 255, 1000, 5000, 100_000)
    ]
    some += [("POST", "/v1/feedback", nested(300), own), ("POST", "/v1/route", nested(300), own)]
    some += [("POST", "/admin/keys", nested(levels), admin) for levels in (100, 2000, 100_000)]
    some += [
        ("POST", "/admin/keys", body, admin)
        for body in (b"{", b"[]", b"\xff", b'{"metadata":{"a":"\\u0000"}}')
    ]
    some += [("POST", "/admin/keys", b'{"models":["a\\u0000"]}', admin)]
    some += [("POST", "/v1/feedback", b'{"request_id":"\\u0000","value":1}', own)]
    for path in ADMIN_PATHS:
        some += [
            (method, path.format(odd), None, admin) for odd in ODD for method in ("GET", "PATCH", "POST")
        ]
    for name in ("from", "to"):
        some += [("GET", f"/admin/usage?{name}={date}", None, admin) for date in DATES]
        some += [("GET", f"/usage/admin?{name}={date}", None, admin) for date in DATES]
    some += [
        ("GET", f"/admin/{what}=%00", None, admin) for what in ("keys?after", "audit?subject", "usage?model")
    ]
    some += [
        (method, path, None, {})
        for method in METHODS
        for path in ("/", "/docs", CHAT, CHAT + "/", "/health/")
    ]
    some += [("GET", "/v1/models", None, {"authorization": "Bearer " + "a" * 5000})]
    return some


def _check(answer: httpx.Response, what: str) -> None:
    assert answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"
    assert not answer.is_redirect, what
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        _check_error(answer.content, what)


def _check_error(content: bytes, what: str) -> None:
    try:
        found: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        found = None
    assert isinstance(found, dict), f"{what}: {content[:200]!r}"
    assert {"message", "type", "param", "code"} == found.get("error", {}).keys(), f"{what}: {content[:200]!r}"


_RAW = (
    (b"\x16\x03\x01\x00\x00\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431),
    (
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        + 2 * b"authorization: Bearer sk-a\r\n"
        + b"\r\n",
        400,
    ),
)


async def _check_raw(target: Target, raw: bytes, status: int) -> None:
    parts = urlsplit(target.rest)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(raw)
        answer = await asyncio.wait_for(reader.read(), 15)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), f"{raw[:60]!r}: {answer[:200]!r}"
    _check_error(body, repr(raw[:60]))


if __name__ == "__main__":
    targets.alone(NAME, attack)
