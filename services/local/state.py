"""The folder with the logs, secrets and lock of one machine's Lumni."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from services.local import secret


class Running(Exception):
    """Another Lumni uses the folder; `facts` describes it."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        super().__init__("already running")
        self.facts = facts


class State:
    """The files of one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        # Another user may pass through to PostgreSQL's data; what is secret is closed by itself.
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)

    def log(self, name: str) -> Path:
        """The log file of a part."""
        return self.folder / "logs" / f"{name}.log"

    def secret(self, name: str, given: str = "", prefix: str = "") -> str:
        """A secret: the one that was given, else the one made at the first call for `name`."""
        return given or secret.load_or_create(self.folder / "secrets" / name, prefix)

    def write_shell(self, variables: Mapping[str, str]) -> Path:
        """Write `local.env`, to be read by a shell."""
        file = self.folder / "local.env"
        lines = [f"export {name}={value}\n" for name, value in variables.items()]
        secret.write(file, "# Written by `make run` or `lumni up`; holds keys.\n" + "".join(lines))
        return file

    @contextmanager
    def locked(self, facts: Mapping[str, str]) -> Iterator[None]:
        """Lock the folder while the block lasts; `facts` is what `Running` shows to another process meanwhile.

        Raises:
            Running: another process has locked it.
        """
        with open(self.folder / "lock", "a+", opener=secret.opener) as file:
            try:
                # The kernel releases it however this process ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Running(_read(file)) from None
            file.seek(0)
            file.truncate()
            file.write(json.dumps(facts))
            file.flush()
            yield


def _read(file: TextIO) -> dict[str, str]:
    file.seek(0)
    try:
        facts: dict[str, str] = json.load(file)
    except ValueError:
        # The other process has locked the file and not written it yet.
        return {}
    return facts
