"""lumni.yaml, which several services read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.chassis import lumni_config
from services.chassis.config import Mistakes
from services.gateway.config import alerts, plans, switches
from services.selector import configuration

MISSPELT = "default_plan: a\nplans: {a: {access_groups: [g]}}\nswitchs: {selection: false}\n"


def test_every_section_of_the_file_that_ships_is_known() -> None:
    root = lumni_config.load(Path(__file__).parents[2] / "config" / "lumni.yaml")

    assert set(root.keys) <= set(lumni_config.SECTIONS)


@pytest.mark.parametrize("load", [alerts.load, plans.load, switches.load, configuration.read_options])
def test_a_misspelt_section_is_a_mistake_for_every_service_that_reads_the_file(
    load: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "lumni.yaml"
    path.write_text(MISSPELT)

    with pytest.raises(Mistakes) as caught:
        load(path)

    assert ["lumni.yaml:3: switchs: is not known; did you mean switches?"] == caught.value.lines
