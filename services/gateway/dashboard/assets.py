"""The files that pages load: the style sheet, the script and the icon, read once."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "static"
TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Characters of a file's digest in its address: another text has another address, so browsers may keep it.
DIGEST = 12


class Asset(NamedTuple):
    """One file."""

    body: bytes
    kind: str
    # Changes with the text.
    version: str


def load() -> dict[str, Asset]:
    """All files by name."""
    return {
        path.name: Asset(
            body := path.read_bytes(), TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:DIGEST]
        )
        for path in sorted(FOLDER.iterdir())
    }
