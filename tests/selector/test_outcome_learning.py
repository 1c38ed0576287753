"""What outcomes change in decisions: nothing while they are not learnt from, and what is recorded can be replayed."""

from pathlib import Path

import pytest
from lumni.selector.v1 import selector_pb2 as pb

from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.models.learned import Evidence, Outcomes
from services.selector.outcome_learning import OutcomeLearning
from tests.selector.test_replay import SHARED, Served, requests

SHARE = 0.2
# The seconds of the requests lie in one day.
DAY = 20_717
LEASE = 40_000_000


def taught() -> OutcomeLearning:
    """Evidence that turns the order round, acting for code, and a lease."""
    shares = {"strong": 0.2, "middle": 0.3, "quick": 0.9, "quota": 0.95}
    by_model = {
        name: Outcomes(share, 30, round(30 * share), 30, "2026-11-22") for name, share in shares.items()
    }
    cells = {(category, level): by_model for category in ("code", "math") for level in (0, 1)}
    evidence, bounds = LearnedEvidence(), ExplorationBounds()
    evidence.take(Evidence(1, cells, frozenset({"code"})))
    bounds.lease(DAY, LEASE)
    return OutcomeLearning(evidence, bounds)


async def served(
    folder: Path, monkeypatch: pytest.MonkeyPatch, learning: str, outcomes: OutcomeLearning | None = None
) -> Served:
    """A selector that has served the same requests as any other."""
    found = Served(folder, f"{SHARED}{learning}", outcomes=outcomes)
    await found.serve(requests(400), monkeypatch)
    return found


def recorded(selection: pb.Selection) -> pb.Learning:
    return selection.circumstances.learning


@pytest.mark.parametrize("learning", ["", "learning: off\n"])
async def test_off_every_decision_is_as_if_nothing_had_ever_been_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learning: str
) -> None:
    without = await served(tmp_path / "without", monkeypatch, "")
    off = await served(tmp_path / "off", monkeypatch, learning, taught())

    assert without.selected == off.selected


async def test_observing_records_what_would_come_first_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = await served(tmp_path / "without", monkeypatch, "")
    observing = await served(tmp_path / "observing", monkeypatch, "learning: observe\n", taught())
    differ = [one for one in map(recorded, observing.selected) if one.current.model != one.learned.model]
    for selection in observing.selected:
        selection.circumstances.ClearField("learning")

    assert without.selected == observing.selected
    assert len(differ) > 20
    assert {1.0} == {one.chosen.probability for one in differ}


async def test_what_was_explored_and_learnt_is_selected_again_by_a_replay_and_without_learning_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = await served(tmp_path, monkeypatch, f"learning: on\nexploration: {{share: {SHARE}}}\n", taught())
    again = await on.replay()
    without = await on.replay(lumni_yaml=SHARED)
    order = [
        [[one.deployment for one in a.candidates] for a in many] for many in (on.selected, again, without)
    ]
    learnings = [recorded(one) for one in on.selected if one.circumstances.HasField("learning")]
    explored = [one for one in learnings if one.explored]

    assert order[0] == order[1]
    assert order[0] != order[2]
    assert 5 < len(explored) <= SHARE * len(learnings)
    assert all(0 < one.chosen.probability <= SHARE for one in explored)
    assert any("liked by" in one.reason for one in on.selected)


async def test_pinned_unjudged_long_and_free_requests_explore_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = await served(tmp_path, monkeypatch, f"learning: on\nexploration: {{share: {SHARE}}}\n", taught())
    for past, selection in zip(on.past, on.selected, strict=True):
        judged = past.request.classification
        learns = past.request.model == "auto" and bool(judged.version) and not judged.long_context
        assert learns == selection.circumstances.HasField("learning")
        if past.request.policy.strategy == "free_first":
            assert not recorded(selection).explored


async def test_a_plans_own_share_goes_before_the_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(200)
    for one in asked:
        one.policy.exploration_share = 0.0
    on = Served(tmp_path, f"{SHARED}learning: on\nexploration: {{share: {SHARE}}}\n", outcomes=taught())
    await on.serve(asked, monkeypatch)

    assert not any(recorded(one).explored for one in on.selected)
