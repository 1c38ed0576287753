"""The folder that keeps what one machine's Lumni must not forget, and tells a second run about the first."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from services.local import secret


class Running(Exception):
    """Another Lumni uses the folder; `facts` is what it said of itself."""

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

    def kept(self, name: str, given: str = "", prefix: str = "") -> str:
        """A secret: the one that was given, else the one made at the first call for `name`."""
        return given or secret.kept(self.folder / "secrets" / name, prefix)

    def write_shell(self, variables: Mapping[str, str]) -> Path:
        """Write `local.env`, to be read by a shell."""
        file = self.folder / "local.env"
        lines = [f"export {name}={value}\n" for name, value in variables.items()]
        secret.write(file, "# Written by `make run`; holds keys.\n" + "".join(lines))
        return file

    @contextmanager
    def held(self, facts: Mapping[str, str]) -> Iterator[None]:
        """Hold the folder while the block lasts, and leave `facts` for whoever asks meanwhile.

        Raises:
            Running: another process holds it.
        """
        with (self.folder / "lock").open("a+") as file:
            try:
                # The kernel lets go of it however this process ends.
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
        # It is only just writing it.
        return {}
    return facts
