"""Usage events on disk, for as long as Redis or the ledger cannot be told.

A segment is a file of lines, each one serialized `lumni.events.v1.UsageEvent` in base64. A line counts once its newline
is there; a torn last line was never promised to anybody. A segment belongs to the process that holds its lock; those of
a process that died are taken over.
"""

import base64
import binascii
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

SUFFIX = ".usage"


class Segment:
    """One file, open for appending and locked while it is ours."""

    def __init__(self, path: Path) -> None:
        """Open or create a segment.

        Raises:
            BlockingIOError: another process holds it.
            OSError: the folder cannot be written.

        """
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise
        # How many it holds whole.
        self.events = len(self.read())

    def append(self, events: Sequence[bytes]) -> None:
        """Write events so that they survive a power cut.

        Raises:
            OSError: the disk is full or gone.
        """
        lines = b"".join(base64.b64encode(event) + b"\n" for event in events)
        written = os.write(self._file, lines)
        if written != len(lines):
            # The torn line will be passed over by whoever reads.
            os.write(self._file, b"\n")
            raise OSError("the disk is full")
        os.fsync(self._file)
        self.events += len(events)

    def read(self) -> list[bytes]:
        """All events that were written whole."""
        return read(self.path)

    def delete(self) -> None:
        """Remove it: the ledger has all that is in it."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)

    def close(self) -> None:
        """Let go of it; another process may take it over."""
        os.close(self._file)


def read(path: Path) -> list[bytes]:
    """All events that a segment holds whole."""
    events = []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    for line in whole.split(b"\n"):
        try:
            event = base64.b64decode(line, validate=True)
        except binascii.Error:
            continue
        if event:
            events.append(event)
    return events


def abandoned(folder: Path) -> list[Segment]:
    """Take over the segments that no living process holds."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            found.append(Segment(path))
        except BlockingIOError:
            continue
    return found
