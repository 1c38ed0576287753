"""`measured_scores.yaml`, beside `lumni.yaml`: how models did here at tasks of each category.

`lumni evaluate` writes it and the selector reads it. A model is named as in `litellm_config.yaml`, or by a
deployment's id:

models:
  small:
    code: {share: 0.85, n: 20, low: 0.64, high: 0.95, on: 2026-11-22}
"""

import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml as plain_yaml

from services.chassis import yaml

__all__ = ["FILE", "Measured", "Scores", "load", "write"]

FILE = "measured_scores.yaml"
_HEAD = (
    "# Written by `lumni evaluate`: the share of tasks that each model solved here, with an interval of 95 %.\n"
    "# The selector prefers these to published scores, and reads them again when this file changes.\n"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """How one model did at one category.

    Attributes:
        share: Of the tasks that it solved, 0 to 1.
        n: How many it was asked.
        low: The least that the true share may be, with 95 % confidence.
        high: The most.
        on: The day of the last answer, YYYY-MM-DD.

    """

    share: float
    n: int
    low: float
    high: float
    on: str

    def __str__(self) -> str:
        return f"measured here, n = {self.n}, {self.on}"


# By model or deployment, and by category.
Scores = Mapping[str, Mapping[str, Measured]]


def load(path: Path, categories: Collection[str]) -> Scores:
    """Read the file; one that is not there has no scores.

    Args:
        path: The file.
        categories: The names that categories may have.

    Raises:
        Mistakes: every one, with its line.
    """
    if not path.exists():
        return {}
    root = yaml.load(path)
    root.only("models")
    scores: dict[str, dict[str, Measured]] = {}
    for model, by_category in root.section("models").sections():
        for category in by_category.keys:
            if category not in categories:
                by_category.mistake(category, f"expected one of {', '.join(categories)}")
        scores[model] = {category: _measured(by_category.section(category)) for category in by_category.keys}
    root.finish()
    return scores


def _measured(section: yaml.Section) -> Measured:
    section.require("share", "n", "low", "high", "on")
    return Measured(
        share=section.number("share", 0.0, low=0, high=1),
        n=section.integer("n", 1, low=1),
        low=section.number("low", 0.0, low=0, high=1),
        high=section.number("high", 1.0, low=0, high=1),
        on=section.text("on", ""),
    )


def write(path: Path, scores: Scores) -> None:
    """Replace the file at once: who reads it meanwhile sees the old or the new one, whole."""
    rows = {
        model: {
            category: {
                "share": round(one.share, 4),
                "n": one.n,
                "low": round(one.low, 4),
                "high": round(one.high, 4),
                "on": one.on,
            }
            for category, one in sorted(by_category.items())
        }
        for model, by_category in sorted(scores.items())
    }
    text = _HEAD + plain_yaml.safe_dump({"models": rows}, sort_keys=False, allow_unicode=True, width=120)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # As other files of this folder: the selector may run as another user.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
