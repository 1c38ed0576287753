"""What commands print."""

from typing import Any

import pytest
from rich.table import Table

from services.gateway.cli import output


def printed(capsys: pytest.CaptureFixture[str], *parts: str | Table) -> list[str]:
    """The printed lines, without the spaces at their ends."""
    output.show(*parts)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_tables_line_up_and_numbers_are_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "count": 1234, "share": 0.5},
        {"name": "long name", "count": None, "share": 12.25},
    ]
    columns = [("NAME", "name"), ("COUNT", "count"), ("SHARE", "share")]

    assert [
        "NAME       COUNT  SHARE",
        "─" * 23,
        "a          1,234    0.5",
        "long name      -  12.25",
    ] == printed(capsys, output.table(rows, columns))
    assert ["nothing"] == printed(capsys, output.table([], columns))


def test_facts_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert ["a   yes", "bb  x, y"] == printed(capsys, output.facts({"a": True, "bb": ["x", "y"]}))


def test_each_row_is_whole_and_brackets_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    long = "[bold]" + "x" * 500

    assert [f"key  {long}"] == printed(capsys, output.facts({"key": long}))
    assert long in printed(capsys, output.table([{"key": long}], [("KEY", "key")]))
