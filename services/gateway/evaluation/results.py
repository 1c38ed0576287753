"""The file that an evaluation writes while it runs, one JSON object a line, from which a second start goes on.

A line is an answer, what its check found, or a verdict of a judge on it; where prompts of users are asked, the ids of
their requests come first. Lines are only appended, each at once: whatever ends the process, no answer that came is
asked for again. A last line that was cut is dropped.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

import orjson

ANSWER, CHECK, VERDICT, PROMPTS = "answer", "check", "verdict", "prompts"


class MixedError(Exception):
    """Why a file cannot be gone on with."""


class Results:
    """The file, open for more lines."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            MixedError: it holds something else than results, or another process writes it.
        """
        self._path = path
        self._file = _opened(path)
        try:
            _lock(self._file)
            # Answers and verdicts; an answer holds what its check found. Of what was taken out only the cost counts.
            self.rows: list[dict[str, Any]] = []
            # Whose prompts are asked, and by which options they were drawn; None where the tasks are from elsewhere.
            self._drawn: dict[str, Any] | None = None
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

    @property
    def prompts(self) -> list[str]:
        """The requests whose prompts are asked; empty where the tasks are from elsewhere."""
        return self._drawn["requests"] if self._drawn is not None else []

    @property
    def plans(self) -> list[str]:
        """The plans that these prompts were drawn from."""
        return self._drawn["plans"] if self._drawn is not None else []

    def draw(self, requests: Iterable[str], plans: Iterable[str], options: Mapping[str, Any]) -> None:
        """Write down whose prompts are asked, by the ids of requests, of which plans, and by which options."""
        self.append(
            {"kind": PROMPTS, "requests": list(requests), "plans": list(plans), "options": dict(options)}
        )

    def check(self, options: Mapping[str, Any] | None) -> None:
        """Make sure that the file can be gone on with.

        Args:
            options: By what prompts of users are to be drawn; None where the tasks are from elsewhere.

        Raises:
            MixedError: it is of other tasks.
        """
        drawn = self._drawn["options"] if self._drawn is not None else None
        if drawn is None or options is None:
            if drawn != options and (self.rows or drawn is not None):
                kind = "other" if drawn is None else "users'"
                raise MixedError(f"{self._path}: it is of {kind} prompts; choose another --results")
            return
        if drawn != options:
            began = " ".join(f"{name} {value}" for name, value in drawn.items() if value != options.get(name))
            raise MixedError(
                f"{self._path}: it was begun with {began}; say the same, or choose another --results"
            )

    def forget(self, tasks: Collection[str]) -> None:
        """Take what was answered to some tasks out of the file; what it cost stays."""
        held = [row for row in self.rows if row["task"] in tasks and not row.get("gone")]
        if not held:
            return
        for row in held:
            row["gone"] = True
            if row["kind"] == ANSWER:
                row["text"] = ""
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.unlink(missing_ok=True)
        file = _opened(beside)
        _lock(file)
        drawn = [self._drawn] if self._drawn is not None else []
        file.writelines(orjson.dumps(row) + b"\n" for row in (*drawn, *self.rows))
        file.flush()
        os.fsync(file.fileno())
        beside.replace(self._path)
        self._file.close()
        self._file = file

    def _take(self, row: dict[str, Any]) -> None:
        if row["kind"] == PROMPTS:
            self._drawn = row
            return
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


def _opened(path: Path) -> BinaryIO:
    """A file for its owner alone: it may hold what users wrote, or answers to that."""
    return open(path, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600))


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
            known = row["kind"] in (ANSWER, CHECK, VERDICT, PROMPTS)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            known = False
        if not known:
            raise MixedError(f"{path}:{number}: not a line of an evaluation; choose another --results")
        yield row
