"""The file that an evaluation writes while it runs, one JSON object a line, from which a second start goes on.

A line is an answer, what its check found, or a grade that a judge gave it. Lines are only appended, each at once:
whatever ends the process, no answer that came is asked for again. A last line that was cut is dropped.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import orjson

ANSWER, CHECK, GRADE = "answer", "check", "grade"


class MixedError(Exception):
    """Why a file cannot be gone on with."""


class Results:
    """The file, open for more lines."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            MixedError: it holds something else than results, or another process writes it.
        """
        self._file: BinaryIO = path.open("a+b")
        try:
            _lock(self._file)
            # Answers and grades; an answer holds what its check found.
            self.rows: list[dict[str, Any]] = []
            for row in _rows(path, self._file):
                self._take(row)
        except BaseException:
            self._file.close()
            raise

    def append(self, row: dict[str, Any]) -> None:
        """Write one line, at once."""
        self._file.write(orjson.dumps(row) + b"\n")
        self._file.flush()
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        if row["kind"] != CHECK:
            self.rows.append(row)
            return
        own = row["model"], row["task"], row["digest"]
        for answer in reversed(self.rows):
            if answer["kind"] == ANSWER and (answer["model"], answer["task"], answer["digest"]) == own:
                answer |= {"checked": True, "share": row["share"], "fault": row["fault"]}
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def _lock(file: BinaryIO) -> None:
    """Keep a second start from asking the same at the same time; the lock ends with the process."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MixedError(f"{file.name}: another evaluation is writing it") from None


def _rows(path: Path, file: BinaryIO) -> Iterator[dict[str, Any]]:
    file.seek(0)
    text = file.read()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        file.truncate(whole)
    for number, line in enumerate(text[:whole].splitlines(), 1):
        try:
            row = orjson.loads(line)
            known = row["kind"] in (ANSWER, CHECK, GRADE)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            known = False
        if not known:
            raise MixedError(f"{path}:{number}: not a line of an evaluation; choose another --results")
        yield row
