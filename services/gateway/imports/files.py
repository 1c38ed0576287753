"""Files that are imported, read row by row: SQLite, CSV, and JSON lines."""

import csv
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
# By table: the columns that must be there, and those that are read where they are.
Tables: TypeAlias = Mapping[str, tuple[Sequence[str], Sequence[str]]]

# Characters of one field of a CSV, and of a line of JSON: an answer with pictures in it.
LONGEST_FIELD = 2**20
LONGEST_LINE = 2**26


class UnreadableError(Exception):
    """The file is none that can be imported, and why."""


def sqlite_rows(path: Path, tables: Tables) -> Iterator[tuple[str, Row]]:
    """The rows of those of the tables that are there, one table after the other, in the order of their numbers.

    Raises:
        UnreadableError: there is no such file, or it has none of the tables, or one lacks a column.
    """
    columns = _columns(path, tables)
    try:
        with closing(_open(path)) as source:
            for table, names in columns.items():
                for row in source.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid"):  # noqa: S608
                    yield table, dict(row)
    except sqlite3.DatabaseError as error:
        raise UnreadableError(f"{path.name}: {error}") from error


def csv_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of a CSV with a heading, each with the number of its line.

    Raises:
        UnreadableError: there is no such file, it is no CSV, or it lacks a column.
    """
    csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
                raise UnreadableError(f"{path.name}: lacks the columns {', '.join(missing)}")
            for row in reader:
                if None in row or None in row.values():
                    raise UnreadableError(
                        f"{path.name} line {reader.line_num}: has not as many fields as the heading"
                    )
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{path.name}: {error}") from error


def json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    """The objects of a file with one in each line, each with its number; numbers keep their decimals.

    Raises:
        UnreadableError: there is no such file, or a line is no object.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
                if not line.strip():
                    continue
                found = json.loads(line, parse_float=Decimal)
                if not isinstance(found, dict):
                    raise UnreadableError(f"{path.name} line {number}: expected an object")
                yield number, found
    except json.JSONDecodeError as error:
        raise UnreadableError(
            f"{path.name} line {number}: {error.msg}; expected one JSON object in each line"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path.name}: {error}") from error


def json_object(path: Path) -> Row | None:
    """The one object that a file is; None where it is anything else, such as one object in each line.

    Raises:
        UnreadableError: there is no such file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path.name}: {error}") from error
    return found if isinstance(found, dict) else None


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str | bytes:
    """Text, or what it is made of when that is no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _columns(path: Path, tables: Tables) -> dict[str, list[str]]:
    """The tables that are there, with those of their columns that are read."""
    if not path.is_file():
        raise UnreadableError(f"{path}: there is no such file")
    found = {}
    try:
        with closing(_open(path)) as source:
            for table, (needed, optional) in tables.items():
                columns = [row["name"] for row in source.execute(f"PRAGMA table_info({table})")]
                if not columns:
                    continue
                if missing := [name for name in needed if name not in columns]:
                    raise UnreadableError(f"{path.name}: the table {table} lacks {', '.join(missing)}")
                found[table] = [*needed, *(name for name in optional if name in columns)]
    except sqlite3.DatabaseError as error:
        raise UnreadableError(f"{path.name}: {error}") from error
    if not found:
        raise UnreadableError(f"{path.name}: has none of the tables {', '.join(tables)}")
    return found
