"""Passwords and keys of one machine, made once; and files that only their owner may read."""

import os
import secrets
from pathlib import Path

# A file, for its owner alone.
MODE = 0o600
# The same for whatever a child process creates.
UMASK = 0o077


def opener(path: str, flags: int) -> int:
    """What `open` takes to create a file for its owner alone; one that others could read is closed to them."""
    file = os.open(path, flags, MODE)
    os.fchmod(file, MODE)
    return file


def load_or_create(file: Path, prefix: str = "") -> str:
    """The secret in `file`, which the first call creates."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        value = prefix + secrets.token_urlsafe(24)
        write(file, value + "\n")
        return value


def write(file: Path, text: str) -> None:
    """Put `text` into `file` whole or not at all, readable by its owner alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w") as out:
        out.write(text)
    fresh.replace(file)
