"""The worked examples of docs/routing.md are what the selector says today, and add up."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worked_examples", ROOT / "scripts" / "worked_examples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_holds_what_the_script_writes(script: ModuleType) -> None:
    document = (ROOT / "docs" / "routing.md").read_text(encoding="utf-8")
    assert script.BEGIN + "\n" + script.rendered() + script.END in document


def test_every_score_of_the_ten_examples_can_be_added_up_by_hand(script: ModuleType) -> None:
    text = script.rendered()
    assert 10 == text.count("\n### ")
    weights: list[float] = []
    rows = 0
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| |"):
            weights = [float(cell.split(" x ")[1]) for cell in cells[2:]]
        elif line.startswith("| ") and not line.startswith("| ---"):
            values = [float(cell) for cell in cells[2:]]
            total = sum(weight * value for weight, value in zip(weights, values, strict=True))
            assert total == pytest.approx(float(cells[1]), abs=0.002)
            rows += 1
    assert rows > 40


def test_every_quality_follows_from_the_catalogs_numbers(script: ModuleType) -> None:
    found = re.findall(r"score = \((.*)\) / 100 = ([\d.]+);", script.rendered())
    assert 10 == len(found)
    for terms, stated in found:
        total = 0.0
        for weight, term in re.findall(
            r"([\d.]+) x [A-Za-z][^+(]*? (\([\d.]+ - [\d.]+\)|[\d.]+)(?= \+|$)", terms
        ):
            first, _, error = term.strip("()").partition(" - ")
            total += float(weight) * (float(first) - float(error or 0))
        assert total / 100 == pytest.approx(float(stated), abs=0.002)
