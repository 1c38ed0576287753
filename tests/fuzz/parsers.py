"""Every parser of a provider's bytes, and of a caller's: what it may raise, and what holds of what it gives.

A target takes bytes and raises AssertionError, or whatever its parser should not. `python -m tests.fuzz.parsers NAME`
searches one of them by coverage; the tests try random bytes and what was found before.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from services.chassis import json_bounds, money, prices, yaml, yaml_loader
from services.chassis.config import Mistakes
from services.chassis.errors import Fault
from services.chassis.prices import Price, Row, WebSearch
from services.executor.capacity import quota_headers
from services.executor.engines import openai, provider_errors, sse, usage
from services.executor.engines.outcomes import Failed
from services.executor.events import spool
from services.executor.formats.chat import ChatFormat
from services.gateway.requests import chat_request

Target: TypeAlias = Callable[[bytes], None]

KEY = "sk-secret-of-the-deployment"
NOW_UNIX_S = 1.8e9
# As dear as a configuration may say.
DEAR = money.nano_per_million(0.1)
RATES = prices.rates_of({"input": DEAR, "output": DEAR})
PRICE = Price((Row("", 0, RATES),), web_search=WebSearch(100 * 10**9, 0))
# What a coverage-guided search begins with, beside the cases.
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "sse": (b'data: {"a": 1}\n\ndata: [DONE]\n\n', b": ping\r\nevent: x\r\ndata:x\r\n\r\n"),
    "error": (
        b'{"error": {"message": "no", "type": "invalid_request_error", "code": 429, "param": "n"}}',
        b'[{"error": {"status": "UNAVAILABLE", "details": [{"retryDelay": "3s"}]}}]',
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}\n\n',
    ),
    "retry": (b"3", b"Wed, 21 Oct 2026 07:28:00 GMT", b"1e400", b"nan"),
    "quota_headers": (b"100\n99\n6m0s", b"1\n1\n2026-11-22T00:00:00Z", b"9\n3\n1800000000000"),
    "usage": (
        b'{"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}',
        b'{"input_tokens": 9, "output_tokens": 3, "server_tool_use": {"web_search_requests": 2}}',
    ),
    "openai": (
        b'{"choices": [{"index": 0, "message": {"content": "hi", "tool_calls": [{"function": {"name": "f"}}]}}]}',
        b'{"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}], "usage": {}}',
    ),
    "json_bounds": (b'{"a": "\\\\\\"[,", "b": [1, {"c": []}]}',),
    "chat": (
        b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "tools": [{"name": "f"}]}',
    ),
    "spool": (b"YWJj\nZGVm\n", b"YWJj\n\n=\nYW"),
    "yaml": (b"a: &a {b: [1, x]}\nc: {<<: *a, d: *a}\n", b'a: &a [*a, "\\U0010ffff"]\n? [b]\n: {<<: 3}\n'),
}


def _sse(data: bytes) -> None:
    """The same events come of the same bytes, however they were cut."""
    whole, cut = (_events(data, size) for size in (len(data) or 1, 3))
    assert whole == cut, (whole, cut)


def _events(data: bytes, size: int) -> list[bytes]:
    reader = sse.EventReader()
    parts = (data[start : start + size] for start in range(0, len(data), size))
    return [*(event for part in parts for event in reader.read(part)), *reader.end()]


def _error(data: bytes) -> None:
    body = data + KEY.encode()
    for status in (400, 429, 500):
        _check_failed(provider_errors.from_response(status, {}, body, KEY))
        _check_failed(provider_errors.from_response(status, {}, data, KEY))
    if (failed := provider_errors.from_body(data, KEY)) is not None:
        _check_failed(failed)


def _retry(data: bytes) -> None:
    text = data.decode("latin-1")
    for name in ("retry-after", "retry-after-ms"):
        _check_failed(provider_errors.from_response(429, {name: text}, b"", None))


def _check_failed(failed: Failed) -> None:
    assert KEY not in failed.message
    assert len(failed.message) <= provider_errors.LONGEST
    wait = failed.retry_after_s
    assert wait is None or 0 <= wait <= provider_errors.LONGEST_WAIT_S, wait


def _quota_headers(data: bytes) -> None:
    limit, remaining, reset = (*data.decode("latin-1").split("\n"), "", "", "")[:3]
    for prefix in ("x-ratelimit-{}-requests", "anthropic-ratelimit-tokens-{}"):
        headers = {
            prefix.format(word): text
            for word, text in (("limit", limit), ("remaining", remaining), ("reset", reset))
        }
        for left in quota_headers.headroom(headers, NOW_UNIX_S):
            assert math.isfinite(left.resets_unix_s), left


def _usage(data: bytes) -> None:
    reported = _loaded(data)
    if not isinstance(reported, dict):
        return
    for read in (
        usage.from_chat,
        usage.from_messages,
        usage.from_responses,
        usage.from_images,
        usage.from_transcription,
    ):
        found = read(reported)
        inputs = found.cached_tokens + found.cache_write_tokens + found.audio_prompt_tokens
        outputs = found.reasoning_tokens + found.audio_completion_tokens + found.image_completion_tokens
        assert 0 <= inputs <= found.prompt_tokens < 2**63, found
        assert 0 <= outputs <= found.completion_tokens < 2**63, found
        assert 0 <= found.cache_write_1h_tokens <= found.cache_write_tokens, found
        assert 0 <= found.web_searches < 2**63, found


def _openai(data: bytes) -> None:
    """Whatever JSON comes in the place of an answer is one, or of another shape, as an attempt says of these errors."""
    for read in (_whole, _chunks):
        answer = ChatFormat("m", include_usage=True)
        with suppress(Failed, ValueError, TypeError, AttributeError, KeyError):
            read(answer, data)
        if answer.usage is not None:
            assert PRICE.cost(answer.usage).total < 2**63


def _whole(answer: ChatFormat, data: bytes) -> None:
    answer.whole(openai.read_whole(data, {}))


def _chunks(answer: ChatFormat, data: bytes) -> None:
    for piece in openai.read_event(data):
        answer.chunk(piece)


def _json_bounds(data: bytes) -> None:
    """What passes has no more levels and values than the bounds say."""
    with suppress(Fault):
        json_bounds.check(data)
        levels, values = _size(_loaded(data))
        assert levels <= json_bounds.MAX_DEPTH
        # Each mark stands before or after a value.
        assert values <= 2 * json_bounds.MAX_VALUES


def _size(value: Any) -> tuple[int, int]:
    """The levels of a value, and how many there are in it."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    sizes = [_size(one) for one in inner]
    is_nest = isinstance(value, dict | list)
    return is_nest + max((levels for levels, _ in sizes), default=0), 1 + sum(count for _, count in sizes)


def _chat(data: bytes) -> None:
    with suppress(Fault):
        chat = chat_request.parse(data)
        assert 0 <= chat.likely_prompt_tokens <= chat.prompt_tokens + 1
        orjson.dumps(chat.body)


def _spool(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        events = spool.read(Path(file.name))
    assert all(events)
    assert len(events) <= data.count(b"\n")


def _yaml(data: bytes) -> None:
    """A file is refused by its lines, or what is read of it is no more than it may have and repeat."""
    with tempfile.TemporaryDirectory() as folder, suppress(Mistakes):
        file = Path(folder, "file.yaml")
        file.write_bytes(data)
        root = yaml.load(file)
        assert sum(1 for _ in _read(root)) <= len(data) + yaml_loader.MOST_REPEATED
        root.finish()


def _read(section: yaml.Section) -> Iterator[str]:
    for key, below in section.sections():
        section.plain(key, None)
        yield key
        yield from _read(below)


def _loaded(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


TARGETS: Mapping[str, Target] = {
    "sse": _sse,
    "error": _error,
    "retry": _retry,
    "quota_headers": _quota_headers,
    "usage": _usage,
    "openai": _openai,
    "json_bounds": _json_bounds,
    "chat": _chat,
    "spool": _spool,
    "yaml": _yaml,
}


def main(name: str, *options: str) -> None:
    """Search one target by coverage, with libFuzzer's options and folders."""
    import atheris

    target = TARGETS[name]
    # What atheris instruments are functions; it follows no import that is done already.
    for module in (
        json_bounds,
        yaml,
        quota_headers,
        openai,
        provider_errors,
        sse,
        usage,
        spool,
        chat_request,
    ):
        for attribute, value in list(vars(module).items()):
            if (
                callable(value)
                and getattr(value, "__module__", "") == module.__name__
                and hasattr(value, "__code__")
            ):
                setattr(module, attribute, atheris.instrument_func(value))
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
