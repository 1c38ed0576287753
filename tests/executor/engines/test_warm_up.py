"""What is loaded before the first caller: only what the configured deployments need."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from services.executor.engines.direct import DirectEngine
from tests.executor.fleet import deployment


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
