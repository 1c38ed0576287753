"""Programs written in Go that some tests and the load script use: found, or installed where Go is present.

`python -m tests.tools grpcurl` prints where it is.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".lumni" / "tools"
# Pinned here; the Go checksum database vouches for what is fetched.
MODULES = {
    # What `docker compose` reads its files with.
    "compose-go": "github.com/compose-spec/compose-go/v2/cmd@v2.16.2",
    "ghz": "github.com/bojand/ghz/cmd/ghz@v0.120.0",
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
}
INSTALL_S = 600


class Absent(Exception):
    """A program is not here, and why it cannot be."""


def find(name: str) -> Path:
    """Where a program is; on first use it is compiled into .lumni/tools, which takes a minute.

    Raises:
        Absent: it is not installed, and there is no Go, no network, or no time.
    """
    if found := shutil.which(name):
        return Path(found)
    path = FOLDER / name
    if path.exists():
        return path
    go = shutil.which("go")
    if go is None:
        raise Absent(f"{name} is not installed, and neither is Go, which could install it")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        # Two test runs must not compile the same at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _install(go, path)
    return path


def find_or_skip(name: str) -> Path:
    """As find, for tests: one that needs an absent program is skipped, saying why."""
    try:
        return find(name)
    except Absent as absent:
        pytest.skip(str(absent))


def _install(go: str, path: Path) -> None:
    module = MODULES[path.name]
    try:
        done = subprocess.run(
            [go, "install", module],
            env=os.environ | {"GOBIN": str(FOLDER), "GOFLAGS": "-trimpath"},
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"go install {module} took more than {INSTALL_S} s") from None
    if done.returncode != 0:
        raise Absent(f"go install {module} failed: {done.stderr.strip().splitlines()[-1:]}")
    # Go names a program after the last part of its path.
    (FOLDER / module.partition("@")[0].rpartition("/")[2]).rename(path)


if __name__ == "__main__":
    try:
        print(find(sys.argv[1]))
    except Absent as absent:
        sys.exit(f"skipped: {absent}")
