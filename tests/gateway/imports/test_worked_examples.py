"""The worked examples of docs/migration.md, run as they stand there."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.imports.test_files import old

Lumni = Callable[..., tuple[int, str]]
DOCUMENT = Path(__file__).parents[3] / "docs" / "migration.md"
__all__ = ["old"]


def examples() -> dict[str, tuple[str, str]]:
    """By source: the command that stands in the document, and what it says it prints."""
    found = re.findall(r"```\n\$ lumni (import (\w+) [^\n]*)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return {source: (command, printed) for command, source, printed in found}


@pytest.mark.parametrize("source", ["litellm", "portkey", "openrouter", "sqlite"])
def test_the_document_shows_what_the_command_prints(
    lumni: Lumni, litellm: str, portkey: tuple[Path, Path], openrouter: Path, old: Path, source: str
) -> None:
    names = {
        "postgresql://litellm@db/litellm": litellm,
        "keys.json": str(portkey[0]),
        "logs.jsonl": str(portkey[1]),
        "openrouter_activity.csv": str(openrouter),
        "old.sqlite": str(old),
    }
    command, printed = examples()[source]

    code, said = lumni(*(names.get(word, word) for word in command.split()))

    assert 0 == code
    assert printed.rstrip().splitlines() == [line.rstrip() for line in said.rstrip().splitlines()]
