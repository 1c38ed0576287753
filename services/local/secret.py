"""Passwords and keys of one machine: made once, in a file that only its owner may read."""

import os
import secrets
from pathlib import Path


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
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    fresh.replace(file)
