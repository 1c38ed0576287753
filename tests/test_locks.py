"""The locks: exact, hashed, addressless, and each enough for its service alone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).parent / "uv"
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PIN = re.compile(r"^([\w.-]+)==(\S+)")
# Compromised releases of LiteLLM: 1.82.7, 1.82.8 and all of 1.107.
COMPROMISED = re.compile(r"^litellm==1\.(82\.[78]|107\.)", re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    lines = lock.read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := PIN.match(line))}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_line_is_an_exact_version_with_a_hash_and_no_address(lock: Path) -> None:
    text = lock.read_text()

    assert "://" not in text
    assert "index-url" not in text
    assert not COMPROMISED.search(text)
    entries = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert all(PIN.match(line) for line in entries)
    assert len(entries) <= text.count("--hash=sha256:")


@pytest.mark.parametrize("name", ["gateway", "classifier", "selector"])
def test_litellm_is_only_in_the_executors_lock(name: str) -> None:
    assert "litellm" not in pins(ROOT / "locks" / f"{name}.txt")
    assert "1.106.2" == pins(ROOT / "locks" / "executor.txt")["litellm"]


def test_all_locks_agree() -> None:
    everything = pins(ROOT / "locks" / "dev.txt")

    for lock in LOCKS:
        for package, version in pins(lock).items():
            assert everything.get(package, version) == version, f"{lock.name}: {package}"


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment for one lock after the other: what they share is compiled once."""
    folder = tmp_path_factory.mktemp("locks") / "venv"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, folder], check=True, timeout=60)
    return folder


@pytest.mark.parametrize("name", ["gateway", "classifier", "selector"])
def test_a_service_starts_from_its_own_lock_without_litellm(name: str, venv: Path) -> None:
    # What the lock does not name is removed.
    subprocess.run(
        [UV, "pip", "sync", "-q", "--require-hashes", ROOT / "locks" / f"{name}.txt"],
        check=True,
        env={**os.environ, "VIRTUAL_ENV": str(venv)},
        timeout=300,
    )

    done = subprocess.run(
        [
            venv / "bin" / "python",
            "-c",
            f"import services.{name}.__main__, importlib.util as u; print(u.find_spec('litellm'))",
        ],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "None\n" == done.stdout, done.stderr
