"""The section `mirror` of lumni.yaml, and what it says is wrong with one."""

from pathlib import Path

import pytest

from services.chassis.config import Mistakes
from services.gateway.experiments.definition import Variant
from services.gateway.mirroring import definition
from services.gateway.mirroring.definition import Judging, Mirror

WHOLE = """
mirror:
  old:
    share: 0.05
    target: {access_groups: [old], tier: fast}
    plans: [pro]
    keys: [k1]
    budget_usd: 1.5
    deadline_s: 20
    judge: {model: gpt-4o, share: 0.1}
"""


def loaded(folder: Path, text: str) -> dict[str, Mirror]:
    path = folder / "lumni.yaml"
    path.write_text(text)
    return dict(definition.load(path, ["free", "pro"]))


def test_a_mirror_is_read_whole_and_without_a_section_there_is_none(tmp_path: Path) -> None:
    target = Variant("target", access_groups=("old",), tier="fast")
    expected = Mirror(
        "old", 0.05, target, 1_500_000_000, ("pro",), ("k1",), 20.0, Judging(model="gpt-4o", share=0.1)
    )

    assert {"old": expected} == loaded(tmp_path, WHOLE)
    assert {} == loaded(tmp_path, "plans: {}\n")


@pytest.mark.parametrize(
    ("was", "is_now", "line", "expected"),
    [
        ("share: 0.05", "share: 5", 4, "mirror.old.share: "),
        ("share: 0.05", "shar: 0.05", 4, "mirror.old.shar: "),
        ("plans: [pro]", "plans: [gold]", 6, "there is no plan 'gold'; known: free, pro"),
        ("tier: fast", "tier: quick", 5, "target.tier: expected one of fast, powerful"),
        ("tier: fast", "weight: 2", 5, "target.weight: belongs to a variant"),
        ("tier: fast", "modle: x", 5, "target.modle: unknown"),
        ("{access_groups: [old], tier: fast}", "{}", 5, "expected a mapping with some of model, strategy"),
        ("budget_usd: 1.5", "budget_usd: -1", 8, "mirror.old.budget_usd: "),
        ("deadline_s: 20", "deadline_s: 0", 9, "mirror.old.deadline_s: "),
        (", share: 0.1}", "}", 10, "share"),
        ("  old:", "  Old Gateway:", 3, "expected a name of 1 to 64 small letters"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_field(
    tmp_path: Path, was: str, is_now: str, line: int, expected: str
) -> None:
    with pytest.raises(Mistakes) as refused:
        loaded(tmp_path, WHOLE.replace(was, is_now))

    assert any(f":{line}: " in one and expected in one for one in str(refused.value).splitlines()), str(
        refused.value
    )
