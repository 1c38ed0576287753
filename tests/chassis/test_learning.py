"""How far outcomes may move selections, as operators say it."""

from pathlib import Path

import pytest

from services.chassis import learning, lumni_config
from services.chassis.config import Mistakes
from services.chassis.learning import Learning, Mode


def read(folder: Path, text: str) -> Learning:
    path = folder / "lumni.yaml"
    path.write_text(text)
    root = lumni_config.load(path)
    found = learning.read(root)
    root.finish()
    return found


def test_nothing_is_learnt_unless_somebody_says_so(tmp_path: Path) -> None:
    assert Mode.OFF is read(tmp_path, "plans: {}\n").mode


@pytest.mark.parametrize("mode", Mode)
def test_modes_are_plain_words_although_yaml_reads_two_of_them_as_truths(tmp_path: Path, mode: Mode) -> None:
    found = read(tmp_path, f"learning: {mode}\nexploration: {{share: 0.05, budget_usd: 0.25}}\n")

    assert Learning(mode, 0.05, 250_000_000) == found


@pytest.mark.parametrize(("written", "mode"), [("true", Mode.ON), ("false", Mode.OFF)])
def test_what_tools_write_in_place_of_on_and_off_means_the_same(
    tmp_path: Path, written: str, mode: Mode
) -> None:
    assert mode is read(tmp_path, f"learning: {written}\n").mode


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Mistakes) as caught:
        read(tmp_path, "learning: always\nexploration: {share: 0.5, budget_usd: -1, daily: 2}\n")

    assert [
        "lumni.yaml:1: learning: expected one of false, observe, off, on, true, not 'always'",
        "lumni.yaml:2: exploration.budget_usd: expected a number from 0 to 9000000",
        "lumni.yaml:2: exploration.daily: is not known",
        "lumni.yaml:2: exploration.share: expected a number from 0 to 0.2",
    ] == caught.value.lines
