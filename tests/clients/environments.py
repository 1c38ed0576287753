"""Where clients, and a server that they sign in at, are installed: packages that are in no environment of ours.

Both are locked by hashes and kept in .lumni/clients until their locks change.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.tools import Absent

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".lumni" / "clients"
# Installing takes half a minute with a full cache, and five with an empty one on a slow line.
INSTALL_S = 600


@dataclass(frozen=True)
class Environment:
    """Packages that are installed together.

    Args:
        name: The folder that they are in.
        lock: What says which they are.
        needs: The program that installs them.
        commands: How, in the new folder.

    """

    name: str
    lock: Path
    needs: str
    commands: Sequence[Sequence[str | Path]]

    @property
    def folder(self) -> Path:
        """Where the packages of the present lock are, or would be."""
        digest = hashlib.sha256(self.lock.read_bytes()).hexdigest()[:16]
        return FOLDER / f"{self.name}-{digest}"

    def find(self) -> Path:
        """The folder.

        Raises:
            Absent: nothing is installed there.
        """
        if not (self.folder / "complete").exists():
            raise Absent(f"the packages for {self.name} are not installed; `make clients` does that")
        return self.folder

    def install(self) -> Path:
        """The folder, after what is absent was installed.

        Raises:
            Absent: the program that installs is, or it failed.
        """
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f"{self.name}.lock").open("w") as lock:
            # Two test runs must not install the same at once.
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return self.find()
            except Absent:
                self._install()
        return self.folder

    def _install(self) -> None:
        if shutil.which(self.needs) is None:
            raise Absent(f"{self.needs} is not here, which would install the packages for {self.name}")
        for older in FOLDER.glob(f"{self.name}-*"):
            shutil.rmtree(older)
        self.folder.mkdir()
        for command in self.commands:
            try:
                done = subprocess.run(
                    command, cwd=self.folder, capture_output=True, text=True, timeout=INSTALL_S
                )
            except subprocess.TimeoutExpired:
                raise Absent(f"{command[0]} took more than {INSTALL_S} s") from None
            if done.returncode != 0:
                raise Absent(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
        (self.folder / "complete").touch()


def _npm(name: str, folder: Path) -> Environment:
    lock = folder / "package-lock.json"
    copied: list[str | Path] = ["cp", lock.with_name("package.json"), lock, "."]
    return Environment(name, lock, "npm", [copied, ["npm", "ci", "--no-audit", "--no-fund"]])


_UV = Path(sys.executable).parent / "uv"
_PYTHON_LOCK = HERE / "python" / "requirements.txt"
PYTHON = Environment(
    "python",
    _PYTHON_LOCK,
    str(_UV),
    [
        [_UV, "venv", "-q", "--python", sys.executable, ".venv"],
        [_UV, "pip", "install", "-q", "--python", ".venv", "--require-hashes", "-r", _PYTHON_LOCK],
    ],
)
NODE = _npm("node", HERE / "node")
# A provider of OpenID Connect.
OPENID = _npm("openid", HERE.parent / "dashboard" / "openid")
# Programs that write code, of 650 MB.
AGENTS = _npm("agents", HERE / "agents")
ALL: Mapping[str, Environment] = {one.name: one for one in (NODE, PYTHON, OPENID, AGENTS)}


def clean(folder: Path) -> dict[str, str]:
    """The environment variables of a client: none of the developer's keys and settings."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}


def main(names: list[str]) -> int:
    """Install and print; 1 when one that was named is absent."""
    absent = 0
    for name in names or ALL:
        try:
            print(ALL[name].install())
        except Absent as reason:
            print(f"skipped: {reason}")
            absent += 1
    return int(bool(names and absent))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
