"""The small parts: events of a stream, refusals, proxies, keys, what runs beside."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from services.chassis import litellm_config
from services.chassis.config import Mistakes
from services.executor.__main__ import beside, seclude
from services.executor.engines.directory import Directory, Keys
from services.executor.engines.litellm_sdk import General
from services.executor.engines.outcomes import RULES, ErrorClass, classify
from services.executor.engines.provider_errors import refusal
from services.executor.engines.proxies import Proxies
from services.executor.engines.sse import events
from tests.executor.fleet import deployment


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


@pytest.mark.parametrize(
    "stream",
    [
        [b"data: one\n\ndata: two\n\n"],
        [b"data: one\r\n\r\ndata:two\r\n\r\n"],
        [b"da", b"ta: o", b"ne\n", b"\nevent: x\nid: 4\n: comment\ndata: two\n\n"],
        [bytes([byte]) for byte in b"data: one\r\n\r\n: ping\n\ndata: two"],
    ],
)
async def test_events_are_read_whatever_the_pieces(stream: list[bytes]) -> None:
    assert [event async for event in events(parts(*stream))] == [b"one", b"two"]


async def test_the_lines_of_one_event_belong_together() -> None:
    assert [event async for event in events(parts(b"data: a\ndata: b\n\n"))] == [b"a\nb"]


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (400, "Invalid value", ErrorClass.BAD_REQUEST),
        (400, "This model's maximum context length is 8192 tokens", ErrorClass.CONTEXT_LENGTH),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", ErrorClass.CONTEXT_LENGTH),
        (
            400,
            "The input token count (1100000) exceeds the maximum number of tokens allowed",
            ErrorClass.CONTEXT_LENGTH,
        ),
        (400, "rejected as a result of our safety system", ErrorClass.CONTENT_POLICY),
        (422, "unprocessable", ErrorClass.BAD_REQUEST),
        (429, "Rate limit reached", ErrorClass.RATE_LIMIT),
        (429, "You exceeded your current quota insufficient_quota", ErrorClass.QUOTA),
        (402, "Payment Required", ErrorClass.QUOTA),
        (418, "teapot", ErrorClass.BAD_REQUEST),
        (500, "context length", ErrorClass.SERVER_ERROR),
        (599, "", ErrorClass.SERVER_ERROR),
    ],
)
def test_a_status_and_its_words_make_a_class(status: int, said: str, error: ErrorClass) -> None:
    assert classify(status, said) is error


def test_a_mistake_of_a_caller_trips_no_breaker_and_is_never_retried() -> None:
    for status in (400, 404, 409, 413, 418, 422):
        rule = RULES[classify(status, "")]
        assert not rule.trips
        assert not rule.retry


def test_every_class_has_its_rule_and_its_line_in_the_documentation() -> None:
    document = (Path(__file__).parents[2] / "docs" / "executor.md").read_text()
    for error in ErrorClass:
        rule = RULES[error]
        answers = " | ".join("yes" if answer else "no" for answer in (rule.retry, rule.fall_back, rule.trips))
        assert f"| `{error}` | {rule.meaning} | {answers} |" in document


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, b"", 1.5),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"", 0.0),
        ({}, b'[{"error":{"message":"m","details":[{"@type":"RetryInfo","retryDelay":"34.5s"}]}}]', 34.5),
        ({}, b"<html>", None),
    ],
)
def test_a_provider_may_say_in_many_ways_when_to_come_back(
    headers: dict[str, str], body: bytes, seconds: float | None
) -> None:
    assert refusal(429, headers, body, None).retry_after_s == seconds


def test_a_refusal_repeats_no_key() -> None:
    said = refusal(
        401,
        {},
        b'{"error":{"message":"Incorrect API key provided: sk-proj-abc123456789 or my-odd-key"}}',
        "my-odd-key",
    )

    assert said.message == "Incorrect API key provided: *** or ***"


def test_proxies_rotate_by_the_clock() -> None:
    now = 0.0
    proxies = Proxies(lambda: now)
    one = deployment("http://x", proxies=("http://a", "http://b"), proxy_interval_s=10.0)
    seen = []
    for now in (0.0, 9.9, 10.0, 19.9, 20.0):  # noqa: B007  (the clock reads it)
        seen.append(proxies.of(one))  # noqa: PERF401

    assert seen == ["http://a", "http://a", "http://b", "http://b", "http://a"]
    assert proxies.of(deployment("http://x")) == ""


def test_provider_keys_leave_the_environment() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": "http://evil",
        "GROQ_API_BASE": "http://evil",
        "HOME": "/root",
    }

    taken = seclude(environ)

    assert environ == {"HOME": "/root"}
    assert taken["OPENAI_API_KEY"] == "sk-1"


def test_a_key_comes_from_its_own_variable_and_nowhere_else() -> None:
    keys = Keys({"A": "key-a", "LUMNI": "sk-lumni-x"})

    assert keys.of(deployment("http://x", key_ref="A")) == "key-a"
    for reference in ("MISSING", "LUMNI"):
        with pytest.raises(LookupError):
            keys.of(deployment("http://x", key_ref=reference))
    assert keys.of(deployment("http://x", key_ref="")) is None
    assert keys.of(deployment("", provider="ollama", key_ref="", api_base="")) is None
    assert not keys.reachable(deployment("", key_ref="", api_base=""))
    assert not keys.reachable(deployment("", key_ref="A", api_base="", api_base_ref="NOWHERE"))


def test_a_key_in_the_file_works_and_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "litellm_config.yaml"
    entry = {
        "model_name": "m",
        "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-in-the-file"},
    }
    path.write_text(yaml.safe_dump({"model_list": [entry]}))
    fleet, keys = litellm_config.load(path), Keys({})
    keys.read_file(path, fleet)

    assert keys.of(fleet.deployments[0]) == "sk-in-the-file"
    assert "stands in the file" in caplog.text
    assert "sk-in-the-file" not in caplog.text


@pytest.mark.parametrize("price", [-1, 3.0, "cheap"])
def test_a_price_that_cannot_be_right_stops_the_start(price: object, tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    entry = {
        "model_name": "m",
        "litellm_params": {"model": "openai/gpt-4o-mini"},
        "model_info": {"input_cost_per_token": price},
    }
    path.write_text(yaml.safe_dump({"model_list": [entry]}))

    with pytest.raises(Mistakes, match="input_cost_per_token"):
        litellm_config.load(path)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_can_be_read(path: Path) -> None:
    fleet = litellm_config.load(path)

    assert fleet.deployments
    assert fleet.warnings == ()
    assert not any(deployment.key_in_file for deployment in fleet.deployments)


def test_what_is_not_heeded_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    unheeded = {
        "retry_policy": {"TimeoutErrorRetries": 3},
        "allowed_fails_policy": {"BadRequestErrorAllowedFails": 1000},
        "disable_cooldowns": True,
        "retry_after": 5,
    }
    entry = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o-mini"}}
    path.write_text(yaml.safe_dump({"model_list": [entry], "router_settings": unheeded}))

    warnings = litellm_config.load(path).warnings

    assert [name for name in unheeded if not any(f"{name}: " in warning for warning in warnings)] == []


@pytest.mark.parametrize(
    ("params", "retries"),
    [({}, 4), ({"num_retries": 0}, 0), ({"max_retries": 1}, 1), ({"max_retries": 0, "num_retries": 2}, 2)],
)
async def test_a_deployments_own_retries_come_first(
    params: dict[str, int], retries: int, general: General, tmp_path: Path
) -> None:
    path = tmp_path / "litellm_config.yaml"
    entry = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o-mini", **params}}
    path.write_text(yaml.safe_dump({"model_list": [entry], "router_settings": {"num_retries": 4}}))
    directory = Directory(path, Keys({}), lambda _: general)

    assert directory.retries(directory.fleet.deployments[0]) == retries


async def test_a_part_that_dies_ends_what_it_stands_beside(caplog: pytest.LogCaptureFixture) -> None:
    async def dies() -> None:
        raise ZeroDivisionError("the part's own")

    with pytest.raises(ZeroDivisionError, match="the part's own"):
        async with asyncio.timeout(5), beside(dies()):
            await asyncio.Event().wait()
    assert "died" in caplog.text


async def test_a_part_ends_with_what_it_stands_beside() -> None:
    ended = asyncio.Event()

    async def runs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with beside(runs()):
        await asyncio.sleep(0)
    assert ended.is_set()
