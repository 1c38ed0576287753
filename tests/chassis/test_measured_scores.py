"""The file of measured scores is read as it was written, and says what is wrong with it."""

from pathlib import Path

import pytest

from services.chassis.config import Mistakes
from services.chassis.measured_scores import Measured, load, write

CATEGORIES = ("code", "math")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "measured_scores.yaml"
    scores = {"a: b": {"code": Measured(0.85, 20, 0.64, 0.95, "2026-11-22")}, "c": {}}

    write(path, scores)
    assert scores == load(path, CATEGORIES)
    write(path, {})

    assert {} == load(path, CATEGORIES)
    assert ["measured_scores.yaml"] == [one.name for one in tmp_path.iterdir()]


def test_a_file_that_is_not_there_has_no_scores(tmp_path: Path) -> None:
    assert {} == load(tmp_path / "none.yaml", CATEGORIES)


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "measured_scores.yaml"
    path.write_text(
        "models:\n  a:\n    code: {share: 2, n: 0, low: 0, high: 1, on: 2026-11-22}\n    cooking: {share: 1}\n"
    )

    with pytest.raises(Mistakes) as caught:
        load(path, CATEGORIES)

    text = "\n".join(caught.value.lines)
    assert all(
        part in text
        for part in (":3: models.a.code.share", ":3: models.a.code.n", ":4: models.a.cooking", "code, math")
    )
