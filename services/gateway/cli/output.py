"""What people at a terminal read, and what programs read from a pipe: text, tables and facts."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

# Rich is imported only by commands that show something: --help is quicker without.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Columns; one line for one row, which a terminal may wrap.
UNLIMITED = 100_000


def show(*parts: "str | Table") -> None:
    """Print texts and tables, one below the other; nothing is folded nor cut, so that ids are copied whole."""
    for part in parts:
        if isinstance(part, str):
            sys.stdout.write(part + "\n")
        else:
            _console().print(part)
    # Into a pipe Python would keep them back until there are 8 KiB: nothing would come of `lumni logs --follow`.
    sys.stdout.flush()


def _console() -> "Console":
    """The standard output, without rich's own markup: names may contain brackets."""
    from rich.console import Console

    return Console(width=UNLIMITED, soft_wrap=True, markup=False, emoji=False, highlight=False)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> "str | Table":
    """Rows under headings, numbers to the right; a column is a heading and the key of its values."""
    if not rows:
        return "nothing"
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, key in columns:
        numbers = all(isinstance(row.get(key), int | float | None) for row in rows)
        shown.add_column(heading, justify="right" if numbers else "left")
    for row in rows:
        shown.add_row(*(text(row.get(key)) for _, key in columns))
    return shown


def facts(row: Mapping[str, Any]) -> str:
    """One thing, a fact a line."""
    width = max(len(name) for name in row)
    return "\n".join(f"{name.ljust(width)}  {text(value)}" for name, value in row.items())


def text(value: Any) -> str:
    """A value as people write it; `-` for none."""
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
        return ", ".join(f"{name} {text(one)}" for name, one in value.items())
    return str(value)
