"""What `make run` prints is answered, whichever key there is: the files are those of the project."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from services.local import ports
from tests.local.test_run import ROOT, SURROUNDINGS, running


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """The address of a simulator of all providers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.simulator", "--until-stdin-closes"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.stdin.close()
        assert 0 == process.wait(30)
        process.stdout.close()


def configuration(folder: Path, simulator: str) -> Path:
    """The project's own configuration, with the simulator in the place of every provider."""
    full = yaml.safe_load((ROOT / "config" / "litellm_config.yaml").read_text())
    for entry in full["model_list"]:
        params = entry["litellm_params"]
        if "api_base" not in params:
            params["api_base"] = simulator if params["model"].startswith("anthropic/") else f"{simulator}/v1"
    # One that a LiteLLM user may have: it has no effect, and the console says so.
    full["general_settings"] = {"alerting": ["slack"]}
    folder.mkdir()
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump(full))
    (folder / "lumni.yaml").write_text((ROOT / "config" / "lumni.yaml").read_text())
    return folder


@pytest.mark.parametrize(
    ("key", "provider"),
    # Without a key the local model answers: test_run looks at that.
    [("OPENAI_API_KEY", "openai"), ("ANTHROPIC_API_KEY", "anthropic")],
)
def test_the_printed_call_is_answered_with_any_key(
    key: str, provider: str, simulator: str, servers_folder: Path, tmp_path: Path
) -> None:
    first = ports.free(10)
    environ = {
        **{name: os.environ[name] for name in SURROUNDINGS if name in os.environ},
        "LUMNI_STATE_DIR": str(servers_folder / "first"),
        # What is configured is the same apart, which takes longer to start; test_run looks at that.
        "LUMNI_LOCAL_TOGETHER": "true",
        "LUMNI_REST_LISTEN": f"127.0.0.1:{first}",
        "LUMNI_LOCAL_PORT": str(first + 1),
        "LUMNI_LOCAL_METRICS_PORT": str(first + 5),
        "LUMNI_CONFIG_DIR": str(configuration(tmp_path / "config", simulator)),
        key: "sk-of-a-provider",
    }
    with running(environ, tmp_path / "output") as run:
        run.until(lambda: "Lumni is ready" in run.said())
        said = run.said()
        line = said[said.index("  . ") : said.index("Ctrl-C stops")]
        done = subprocess.run(
            ["sh", "-ec", line], capture_output=True, text=True, timeout=120, env={"PATH": os.environ["PATH"]}
        )

    answer = json.loads(done.stdout)
    assert "chat.completion" == answer.get("object"), answer
    assert answer["choices"][0]["message"]["content"]
    # Where the selector does not answer in time, as on a machine that is just starting, the first in the file is called.
    local = "smollm2-135m" == answer["lumni"]["model"]
    assert provider == answer["lumni"]["provider"] or (local and answer["lumni"]["degraded"])
    assert (
        "general_settings.alerting: alerts are for Prometheus to send, from what /metrics shows; ignored"
        in said
    )
