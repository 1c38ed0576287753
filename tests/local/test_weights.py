"""Where the local model's weights come from, and when they are not fetched; nothing is downloaded here."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from services.chassis import litellm_config
from services.chassis.deployments import Fleet
from services.local import __main__ as local
from services.local import weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _: None)


def pip(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Let a script stand for the interpreter that runs pip."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


async def test_a_fetch_that_is_cancelled_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipe = tmp_path / "pid"
    pip(monkeypatch, tmp_path, f"echo $$ >{pipe}.new; mv {pipe}.new {pipe}; exec sleep 600")
    fetching = asyncio.create_task(weights.find_or_fetch(tmp_path / "model", print))
    async with asyncio.timeout(30):
        while not pipe.exists():
            await asyncio.sleep(0.01)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    assert not psutil.pid_exists(int(pipe.read_text()))


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo no such index >&2; exit 1", "no such index"), ("exit 1", "pip failed")],
)
async def test_what_pip_says_is_why_there_are_no_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, reason: str
) -> None:
    pip(monkeypatch, tmp_path, script)
    with pytest.raises(weights.AbsentError, match=reason):
        await weights.find_or_fetch(tmp_path / "model", print)


async def test_a_pip_that_cannot_be_run_means_no_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(weights.AbsentError, match="No such file"):
        await weights.find_or_fetch(tmp_path / "model", print)


async def test_only_a_fleet_that_names_the_local_model_gets_its_file(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.touch()
    ours = litellm_config.load(ROOT / "config" / "litellm_config.yaml")

    assert file == await local.local_model(ours, tmp_path)
    assert await local.local_model(Fleet(()), tmp_path) is None
