"""Tables for people at a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    """Rows under headings, numbers to the right; a column is a heading and the key of its values."""
    if not rows:
        return "nothing\n"
    cells = [[_text(row.get(key)) for _, key in columns] for row in rows]
    to_the_right = [all(isinstance(row.get(key), int | float | None) for row in rows) for _, key in columns]
    widths = [max(len(heading), *(len(line[i]) for line in cells)) for i, (heading, _) in enumerate(columns)]
    lines = [[heading for heading, _ in columns], ["-" * width for width in widths], *cells]
    return "".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, to_the_right, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def facts(row: Mapping[str, Any]) -> str:
    """One thing, a fact a line."""
    width = max(len(name) for name in row)
    return "".join(f"{name.ljust(width)}  {_text(value)}\n" for name, value in row.items())


def bar(done: int, total: int, width: int = 30) -> str:
    """How far something is."""
    share = done / total if total else 1.0
    full = int(share * width)
    return f"[{'#' * full}{'.' * (width - full)}] {share:4.0%} {done:,} of {total:,}"


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    return str(value)
