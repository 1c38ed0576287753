"""Which steps of a decision are taken at all: the section `switches` of `config/lumni.yaml`."""

from dataclasses import dataclass
from pathlib import Path

from services.chassis import lumni_config


@dataclass(frozen=True, slots=True)
class Switches:
    """Without classification every request counts as undecided; without selection the configured order holds."""

    classification: bool = True
    selection: bool = True
    # Off unless switched on: the classifier's features of each request are kept, for learning from feedback.
    keep_features: bool = False


def load(path: Path) -> Switches:
    """Read the switches; both are on unless the file says otherwise.

    Raises:
        Mistakes: every mistake, with its line.
    """
    root = lumni_config.load(path)
    section = root.section("switches")
    switches = Switches(
        classification=section.flag("classification", default=True),
        selection=section.flag("selection", default=True),
        keep_features=section.flag("keep_features", default=False),
    )
    root.finish()
    return switches
