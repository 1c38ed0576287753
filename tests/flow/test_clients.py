"""Clients of others as they are, each in a process and an environment of its own: SDKs of Node, frameworks of Python."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.clients import environments, examples
from tests.clients.environments import AGENTS, PYTHON
from tests.clients.examples import beside_packages, found_or_skip
from tests.flow.stack import API_KEY, Stack
from tests.simulator import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")
# All checks of one probe; on a busy machine the slowest takes a third of it.
PROBE_S = 240.0
NODE_PROBES = ("openai_node", "anthropic_node", "vercel_ai")
FRAMEWORKS = (
    "langchain_chat",
    "litellm_sdk",
    "llamaindex_rag",
    "openai_agents",
    "portkey_sdk",
    "pydantic_agent",
)


@pytest.fixture
def variables(stack: Stack, provider: Simulator, tmp_path: Path) -> dict[str, str]:
    """What a probe is told of what runs."""
    return {
        **environments.clean(tmp_path),
        "LUMNI_URL": stack.rest,
        "LUMNI_GRPC": stack.grpc,
        "EMBEDDING_MODEL": "vectors",
        "LUMNI_API_KEY": API_KEY,
        "SIMULATOR_URL": provider.url,
    }


async def ran(command: Sequence[str | Path], variables: Mapping[str, str]) -> str:
    """What a program prints that ends well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=variables,
        cwd=variables["HOME"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PROBE_S):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert 0 == process.returncode, (out + errors).decode()[-4000:]
    return out.decode()


def failed(printed: str) -> str:
    """What failed of a probe's checks, by its report; empty where nothing did."""
    checks: dict[str, str | None] = json.loads(printed.splitlines()[-1])
    assert len(checks) > 3, checks
    return "\n".join(f"{name}: {wrong}" for name, wrong in checks.items() if wrong)


@pytest.mark.parametrize("probe", NODE_PROBES)
async def test_an_sdk_of_node_works_unchanged(
    variables: Mapping[str, str], tmp_path: Path, probe: str
) -> None:
    beside_packages(tmp_path, (environments.HERE / "node").glob("*.mjs"))

    assert "" == failed(await ran(["node", tmp_path / f"{probe}.mjs"], variables))


@pytest.mark.parametrize("probe", FRAMEWORKS)
async def test_a_framework_of_python_works_in_its_default_mode(
    variables: Mapping[str, str], probe: str
) -> None:
    python = found_or_skip(PYTHON) / ".venv" / "bin" / "python"
    script = environments.HERE / "frameworks" / f"{probe}.py"

    assert "" == failed(await ran([python, script], variables))


@pytest.mark.parametrize("example", examples.NAMES)
async def test_an_example_runs_as_it_is(variables: dict[str, str], tmp_path: Path, example: str) -> None:
    assert "Echo" in await ran(*examples.command(example, tmp_path, variables))


async def test_codex_works_with_the_settings_of_the_example(
    stack: Stack, variables: Mapping[str, str], tmp_path: Path
) -> None:
    codex = found_or_skip(AGENTS) / "node_modules" / ".bin" / "codex"
    settings = (examples.FOLDER / "codex.toml").read_text().replace("http://localhost:8080", stack.rest)
    (tmp_path / "config.toml").write_text(settings)
    command: list[str | Path] = [
        codex,
        "exec",
        "--skip-git-repo-check",
        "--sandbox",
        "read-only",
        "Say hello.",
    ]

    assert "Echo Say hello." in await ran(command, {**variables, "CODEX_HOME": str(tmp_path)})


@pytest.mark.parametrize("model", ["native", "large", "auto"])
async def test_claude_code_works_with_the_settings_of_the_example(
    stack: Stack, variables: Mapping[str, str], model: str
) -> None:
    claude = found_or_skip(AGENTS) / "node_modules" / ".bin" / "claude"
    settings = json.loads((examples.FOLDER / "claude_code.json").read_text())["env"]
    own = {
        "ANTHROPIC_BASE_URL": stack.rest,
        "ANTHROPIC_AUTH_TOKEN": API_KEY,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
    }
    assert settings.keys() == own.keys()
    # Nothing of it may leave this machine.
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    printed = await ran(
        [claude, "-p", "Say hello.", "--output-format", "json"], {**variables, **own, **quiet}
    )
    result = json.loads(printed)

    assert (False, "success") == (result["is_error"], result["subtype"]), result
