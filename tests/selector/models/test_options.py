"""The selector's section of lumni.yaml."""

from pathlib import Path

import pytest

from services.chassis import learning, yaml
from services.chassis.config import Mistakes
from services.chassis.strategies import STRATEGIES
from services.selector.models import options
from services.selector.models.options import Options


def read(folder: Path, text: str) -> Options:
    path = folder / "lumni.yaml"
    path.write_text(text)
    root = yaml.load(path)
    found = options.read(root.section("selector"), learning.read(root))
    root.finish()
    return found


def test_no_section_means_the_defaults(tmp_path: Path) -> None:
    assert Options() == read(tmp_path, "plans: {}\n")


def test_everything_can_be_turned(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
selector:
  default_strategy: cost
  powerful_share: 0.4
  candidates: 3
  quality_floor: 0.5
  cost_ceiling_usd_per_mtok: 12
  recent_usage: {window_s: 600, prefer: used}
  weights:
    balanced:
      powerful: {benchmark_score: 0.6, latency: 0.4}
  category_weights:
    code: {LiveCodeBench: 1}
  catalog:
    My-Model-20250101:
      organization: me
      capabilities: [tools]
      scores: {MMLU: 70.5}
      source: https://example.org
""",
    )
    assert ("cost", 0.4, None, 3, 0.5, 12.0) == (
        found.default_strategy,
        found.powerful_share,
        found.threshold,
        found.candidates,
        found.quality_floor,
        found.cost_ceiling,
    )
    assert (600, False) == (found.recent_window_s, found.recent_spreads)
    assert (0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.4) == found.weights["balanced", "powerful"]
    assert Options().weights["balanced", "fast"] == found.weights["balanced", "fast"]
    assert {"LiveCodeBench": 1.0} == found.category_weights["code"]
    [override] = found.catalog
    assert ("my-model", ("My-Model-20250101",), {"MMLU": 70.5}) == (
        override.id,
        override.aliases,
        override.scores,
    )


def test_every_mistake_is_listed_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Mistakes) as caught:
        read(
            tmp_path,
            """selector:
  default_strategy: best
  powerful_share: 2
  weights:
    balanced:
      powerful: {beauty: 1}
  category_weights:
    coding: {LiveCodeBench: 1}
  catalog:
    mine: {scores: {MMLU: 120}}
""",
        )
    assert [
        f"lumni.yaml:2: selector.default_strategy: expected one of {', '.join(sorted(STRATEGIES))}, not 'best'",
        "lumni.yaml:3: selector.powerful_share: expected a number from 0 to 1",
        "lumni.yaml:6: selector.weights.balanced.powerful.beauty: is not known",
        "lumni.yaml:6: selector.weights.balanced.powerful: at least one part must count",
        "lumni.yaml:8: selector.category_weights.coding: is not known; did you mean code?",
        "lumni.yaml:10: selector.catalog.mine.scores.MMLU: expected a number from 0 to 100",
    ] == sorted(caught.value.lines, key=lambda line: int(line.split(":")[1]))
