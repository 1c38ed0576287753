"""Usage events on disk, for as long as Redis does not take them or the ledger has not acknowledged them.

A segment is a file of lines, each one serialized `lumni.events.v1.UsageEvent` in base64. A line counts once its newline
is there; no call goes on because of a torn one. A segment belongs to the process that holds its lock; those of a
process that died are taken over.
"""

import asyncio
import base64
import binascii
import fcntl
import itertools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, TypeVarTuple

SUFFIX = ".usage"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


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
            # A reader passes the torn line over.
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
        """Give it up; another process may take it over."""
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


class Spool:
    """The segments of this process: one that is open for appending, those to publish, and those published."""

    def __init__(self, folder: Path) -> None:
        """Take over the segments that died processes left behind.

        Raises:
            OSError: the folder cannot be written.

        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = itertools.count()
        # All that is done to segments is done in this one thread, so that none is read before it is written.
        self._disk = ThreadPoolExecutor(1, "spool")
        self._open: Segment | None = None
        self._unpublished = abandoned(folder)
        self._published: list[Segment] = []

    @property
    def events(self) -> int:
        """How many events it holds."""
        return sum(segment.events for segment in self._segments())

    async def append(self, events: Sequence[bytes]) -> None:
        """Write events so that they survive a power cut.

        Raises:
            OSError: the disk is full or gone.
        """
        await self._on_disk(self._append, events)

    async def next_unpublished(self) -> tuple[Segment, list[bytes]] | None:
        """The oldest segment that has to be published, with its events; None when there is none."""
        await self._on_disk(self._close_open)
        while self._unpublished:
            segment = self._unpublished[0]
            if events := await self._on_disk(segment.read):
                return segment, events
            # Torn before its first event was whole: no call has gone on because of it.
            self._unpublished.pop(0)
            await self._on_disk(segment.delete)
        return None

    def keep(self, segment: Segment) -> None:
        """Note that a segment is published; it is kept until the ledger has acknowledged all of it."""
        self._unpublished.remove(segment)
        self._published.append(segment)

    def republish(self, segment: Segment) -> None:
        """Note that a published segment has to be published again."""
        self._published.remove(segment)
        self._unpublished.append(segment)

    async def delete(self, segment: Segment) -> None:
        """Delete a published segment: the ledger has all of it."""
        self._published.remove(segment)
        await self._on_disk(segment.delete)

    def close(self) -> None:
        """Give all segments up; another process may take them over."""
        self._disk.shutdown()
        for segment in self._segments():
            segment.close()

    async def _on_disk(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *args)

    def _append(self, events: Sequence[bytes]) -> None:
        if self._open is None:
            self._open = Segment(self._folder / f"{time.time_ns()}-{next(self._numbers)}{SUFFIX}")
        self._open.append(events)

    def _close_open(self) -> None:
        """The open segment is complete: the next event opens another."""
        if self._open is not None:
            self._unpublished.append(self._open)
            self._open = None

    def _segments(self) -> list[Segment]:
        still_open = [self._open] if self._open is not None else []
        return [*self._unpublished, *self._published, *still_open]
