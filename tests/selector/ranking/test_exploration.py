"""Which model comes first, what is explored, and within which bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.eligibility import Policy, Requirements
from services.chassis.prices import UNPRICED
from services.selector.live import snapshot
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.models import learned
from services.selector.models.learned import ByModel, Outcomes
from services.selector.ranking.exploration import Learned
from services.selector.ranking.select import Preferences, Selection, Selector, Task
from tests.selector import fleets

MODELS = {"best": 90.0, "good": 85.0, "fair": 80.0, "poor": 20.0}
PRICES = {"best": (5.0, 20.0), "good": (2.0, 8.0), "fair": (1.0, 4.0), "poor": (0.1, 0.4)}
FLEET = fleets.selector([fleets.deployment(name, dollars=PRICES[name]) for name in MODELS], MODELS)
ALL = 10**12


def liked(share: float, n: int = 400) -> Outcomes:
    return Outcomes(share, n, round(share * n), n, "2026-11-22")


def select(
    outcomes: ByModel | None = None,
    *,
    acts: bool = False,
    share: float = 0.0,
    left: int = ALL,
    seed: str = "",
    powerful: bool = True,
    selector: Selector = FLEET,
) -> Selection:
    by = learned.ranked(selector.table, "code", outcomes or {})
    return selector.select(
        Task("code", powerful),
        Requirements(prompt_tokens=1000, output_tokens=500),
        Policy(),
        Preferences(strategy="quality", seed=seed),
        snapshot.unknown(selector.table),
        1.0,
        Learned(by, acts=acts, share=share, left_nano_usd=left),
    )


def first(selection: Selection) -> str:
    return FLEET.table.deployments[selection.candidates[0].index].model


def test_evidence_changes_nothing_until_it_may_act_and_then_the_reason_names_it() -> None:
    outcomes = {"best": liked(0.5), "good": liked(0.85)}
    before, after = select(outcomes), select(outcomes, acts=True)

    assert ("best", "good") == (first(before), first(after))
    assert "(liked by 340 of 400 here, 2026-11-22)" in after.reason
    for one in (before, after):
        assert one.learning is not None
        names = [FLEET.table.deployments[c.index].model for c in (one.learning.current, one.learning.learned)]
        assert ["best", "good"] == names


def test_what_all_models_have_in_common_favours_none() -> None:
    harsh = {name: liked(share * 0.3, 100_000) for name, share in (("best", 0.9), ("good", 0.85))}

    assert "best" == first(select(harsh, acts=True))


def test_an_unliked_model_that_was_never_compared_stays_where_it_was() -> None:
    # All answers are of one model, so nothing is known of how the others would have been liked.
    assert "best" == first(select({"best": liked(0.3)}, acts=True))


@settings(max_examples=60, deadline=None)
@given(
    share=st.floats(0.0, 0.2),
    shares=st.dictionaries(st.sampled_from(sorted(MODELS)), st.floats(0, 1)),
    n=st.integers(1, 1000),
    acts=st.booleans(),
    powerful=st.booleans(),
    left=st.sampled_from([0, 10**6, ALL]),
    seed=st.text(max_size=4),
)
def test_one_choice_is_explored_with_at_most_the_share_within_the_floor_and_the_budget(
    share: float, shares: dict[str, float], n: int, acts: bool, powerful: bool, left: int, seed: str
) -> None:
    outcomes = {name: liked(one, n) for name, one in shares.items()}
    usual = select(outcomes, acts=acts, powerful=powerful)
    found = select(outcomes, acts=acts, share=share, left=left, seed=seed, powerful=powerful)
    learning, ranking = found.learning, learned.ranked(FLEET.table, "code", outcomes).ranking

    assert learning is not None
    assert learning.extra_nano_usd <= left
    held = learning.learned if acts else learning.current
    assert held.index == usual.candidates[0].index
    assert held.probability >= 1 - share
    # Whatever comes first, all others follow in their order.
    rest = [one.index for one in usual.candidates if one.index != learning.chosen.index]
    assert [learning.chosen.index, *rest] == [one.index for one in found.candidates]
    if learning.explored:
        assert 0 < learning.chosen.probability <= share
        assert ranking.fast[learning.chosen.index]
        assert "to learn how its answers are liked" in found.reason
    else:
        assert learning.chosen == held


def test_probabilities_are_those_of_the_draws() -> None:
    outcomes = {"best": liked(0.5, 20), "good": liked(0.8, 20)}
    draws = [select(outcomes, share=0.2, seed=str(i)).learning for i in range(4000)]
    counts: dict[int, int] = {}
    for one in draws:
        assert one is not None
        counts[one.chosen.index] = counts.get(one.chosen.index, 0) + 1
    by_index = {one.chosen.index: one.chosen.probability for one in draws if one is not None}

    assert 1.0 == pytest.approx(sum(by_index.values()))
    for index, probability in by_index.items():
        assert counts[index] / 4000 == pytest.approx(probability, abs=0.025)


def test_what_the_other_policy_would_choose_gets_half_of_what_is_explored() -> None:
    learning = select({"best": liked(0.5), "good": liked(0.85)}, share=0.1).learning

    assert learning is not None
    assert learning.learned.probability >= 0.05


def test_what_cannot_be_the_best_is_not_explored_any_more() -> None:
    sure = {"best": liked(0.9, 5000), "good": liked(0.6, 5000), "fair": liked(0.6, 5000)}
    explored = {first(select(sure, share=0.2, seed=str(i))) for i in range(300)}

    assert {"best"} == explored


def test_a_model_whose_price_nobody_knows_is_not_explored() -> None:
    unpriced = [
        fleets.deployment("best", dollars=PRICES["best"]),
        fleets.deployment("good", price=UNPRICED),
    ]
    selector = fleets.selector(unpriced, MODELS)
    learning = select(share=0.2, selector=selector).learning

    assert learning is not None
    assert 1.0 == learning.chosen.probability


@given(
    share=st.floats(0.0, 0.2),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 50), st.integers(0, 3)), max_size=300),
)
def test_a_replica_never_explores_more_than_the_share_nor_spends_more_than_its_lease(
    share: float, steps: list[tuple[bool, int, int]]
) -> None:
    bounds = ExplorationBounds()
    explored = spent = leased = 0
    for seen, (wants, cost, lease) in enumerate(steps, 1):
        bounds.lease(1, lease)
        leased += lease
        if bounds.share("pro", share) > 0 and wants and cost <= bounds.left_nano_usd(86_400):
            bounds.spend("pro", cost)
            explored, spent = explored + 1, spent + cost
        assert explored <= share * seen
        assert spent <= leased


def test_a_lease_ends_with_its_day() -> None:
    bounds = ExplorationBounds()
    bounds.lease(1, 70)

    assert (70, 0) == (bounds.left_nano_usd(86_400 * 1.5), bounds.left_nano_usd(86_400 * 2))
