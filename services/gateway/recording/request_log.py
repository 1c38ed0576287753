"""Records in files, one each, written by a thread of its own; the oldest make room when there are too many bytes."""

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.chassis.config import Mistakes
from services.chassis.outage import Outage
from services.gateway.recording.delivery import DROPPED, MOST_WAITING
from services.gateway.recording.record import Content, Record, is_record

log = logging.getLogger(__name__)

# As the metric of dropped records names this destination.
TO = "file"
# How long those that are left may take when the process ends, in seconds.
END_S = 2.0
# The folder is looked at again when so large a part of its bound was written.
LOOK_AFTER = 0.05
# What half a file is named while it is written, and after how many seconds nobody can be writing it any more.
HALF = ".tmp"
HALF_S = 600.0


class RequestLog:
    """Writes records while it runs; whoever adds one never waits.

    Args:
        folder: Where; its files with a record's name are deleted when there are too many.
        content: What is written of prompts and answers.
        most: Bytes of all files; one part in twenty may come on top.
    """

    def __init__(self, folder: Path, content: Content, most: int) -> None:
        self._folder = folder
        self._content = content
        self._most = most
        self._queue: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        # Looked at before the first file.
        self._unseen = float(most)
        self._outage = Outage(log, "request logs are not written", "request logs are written again")

    def add(self, record: Record) -> None:
        """Take a record of a request that is over; returns at once."""
        with self._lock:
            if self._waiting + record.size > MOST_WAITING:
                DROPPED.labels(TO).inc()
                return
            self._waiting += record.size
        self._queue.put(record)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write in a thread until the block ends, then what is left within `END_S`.

        Raises:
            Mistakes: the folder cannot be made or written to.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Mistakes(
                [f"LUMNI_REQUEST_LOG_DIR: {self._folder} cannot be made: {error.strerror}"]
            ) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise Mistakes([f"LUMNI_REQUEST_LOG_DIR: {self._folder} cannot be written to"])
        thread = threading.Thread(target=self._run, name="request log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._queue.put(None)
            thread.join(END_S)

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            try:
                self._write(record)
                self._outage.end()
            except Exception as error:  # noqa: BLE001  (whatever it was, the next one is tried)
                DROPPED.labels(TO).inc()
                self._outage.begin(error)
            with self._lock:
                self._waiting -= record.size

    def _write(self, record: Record) -> None:
        text = record.written(self._content)
        if self._unseen + len(text) > self._most * LOOK_AFTER:
            self._make_room(len(text))
            self._unseen = 0
        path = self._folder / record.name
        # Whoever follows the folder never finds half a file.
        half = path.with_suffix(HALF)
        try:
            with open(half, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(text)
            half.replace(path)
        except OSError:
            half.unlink(missing_ok=True)
            raise
        self._unseen += len(text)

    def _make_room(self, size: int) -> None:
        """Delete the oldest files until the bound holds; other processes may do the same."""
        found = sorted((one.name, status.st_size) for one, status in self._files() if is_record(one.name))
        left = sum(length for _, length in found) + size
        for name, length in found:
            if left <= self._most:
                return
            (self._folder / name).unlink(missing_ok=True)
            left -= length

    def _files(self) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
        """What is in the folder, without halves that a process left behind when it was killed."""
        for one in os.scandir(self._folder):
            # Another process may delete it first.
            with suppress(FileNotFoundError):
                status = one.stat()
                if _is_half(one.name) and status.st_mtime < time.time() - HALF_S:
                    Path(one.path).unlink()
                else:
                    yield one, status


def _is_half(name: str) -> bool:
    return name.endswith(HALF) and is_record(name.removesuffix(HALF) + ".json")
