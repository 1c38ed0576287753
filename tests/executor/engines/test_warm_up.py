"""What is loaded before the first caller: only what the configured deployments need."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest

from services.chassis.operations import Operation
from services.executor.bridges import calling
from services.executor.engines import direct, openai
from services.executor.engines.base import Call
from services.executor.engines.direct import DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.prepare import Prepared
from services.executor.engines.translation import Upstream
from tests.executor.fleet import deployment

MESSAGES = [{"role": "user", "content": "."}]
# All that a chat model is asked.
BODIES: Mapping[Operation, Mapping[str, Any]] = {
    Operation.CHAT: {"messages": MESSAGES},
    Operation.MESSAGES: {"messages": MESSAGES, "max_tokens": 5},
    Operation.RESPONSES: {"input": "."},
    Operation.COMPLETIONS: {"prompt": "."},
}


@pytest.mark.parametrize(
    ("provider", "model", "mode", "whole"),
    [
        ("openai", "gpt-4o", "chat", True),
        ("anthropic", "claude-sonnet-4-5", "chat", True),
        ("gemini", "gemini-2.5-flash", "chat", True),
        ("openai", "text-embedding-3-small", "embedding", True),
        # OpenAI takes tools of this one in its responses alone, and has no chats of the other.
        ("openai", "gpt-5.4", "chat", False),
        ("openai", "gpt-5-codex", "responses", False),
        ("gemini", "gemini-embedding-001", "embedding", False),
    ],
)
async def test_an_engine_knows_whether_it_makes_all_calls_of_a_deployment(
    direct_engine: DirectEngine, provider: str, model: str, mode: str, whole: bool
) -> None:
    # At the provider's own address.
    assert whole is await direct_engine.warm_up(deployment("", provider, model=model, mode=mode, api_base=""))


async def test_all_kinds_of_calls_are_translated_after_one_that_cannot_be(
    direct_engine: DirectEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    translated: list[bool] = []

    def translate(prepared: Prepared) -> Upstream | None:
        found = openai.translate(prepared)
        translated.append(found is not None)
        return found

    monkeypatch.setattr(direct, "TRANSLATIONS", {"openai": translate})
    await direct_engine.warm_up(deployment("", "openai", model="gpt-5.4", mode="chat", api_base=""))

    assert [True, False, False, True] == translated


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash")],
)
async def test_no_call_of_a_chat_model_is_for_litellms_entry_point_where_no_chat_is(
    direct_engine: DirectEngine,
    litellm_engine: LiteLLMEngine,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    model: str,
) -> None:
    sent: list[Prepared] = []
    monkeypatch.setattr(litellm_engine, "send", sent.append)
    asked = deployment("http://127.0.0.1:1", provider, model=model, mode="chat")
    for operation, body in BODIES.items():
        call = Call(asked, "none", operation, body, stream=False, timeout_s=5)
        with pytest.raises(Failed) as failed:
            async with aclosing(calling.pieces(direct_engine, call)) as pieces:
                async for _ in pieces:
                    pass
        assert ErrorClass.CONNECTION is failed.value.error

    assert [] == sent


async def test_what_litellms_connections_need_is_there_before_the_first(
    litellm_engine: LiteLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[httpx.AsyncHTTPTransport] = []

    def pool(**options: Any) -> httpx.AsyncHTTPTransport:
        made.append(transport(**options))
        return made[-1]

    transport = httpx.AsyncHTTPTransport
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", pool)
    asked = deployment("http://127.0.0.1:1", "openai", model="gpt-4o", mode="chat")
    await litellm_engine.warm_up(asked)
    assert 1 == len(made)

    call = Call(asked, "none", Operation.CHAT, BODIES[Operation.CHAT], stream=False, timeout_s=5)
    with pytest.raises(Failed):
        await anext(litellm_engine.call(call))
    assert 1 == len(made)


@pytest.mark.parametrize(("engine", "loads"), [("fast", False), ("general", True)])
def test_a_start_loads_litellms_entry_point_only_where_calls_go_there(
    tmp_path: Path, engine: str, loads: bool
) -> None:
    program = f"""
        import asyncio, sys
        from pathlib import Path
        from tests.executor.service import deployments, executor

        async def main():
            config = deployments("http://127.0.0.1:1", [("one", "openai/gpt-4o"), ("two", "anthropic/claude-sonnet-4-5")])
            async with executor(Path({str(tmp_path)!r}), config, engine="{engine}"):
                utils = sys.modules["litellm.utils"]
                print("openai.resources" in sys.modules, hasattr(utils, "json_data"))

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True, timeout=120
    )

    assert f"{loads} False" == done.stdout.strip()
