"""What may be concluded, and stopped, whenever somebody looks."""

import pytest

from services.gateway.experiments import conclusion
from services.gateway.experiments.conclusion import COST, ERRORS, Guardrails, Metric
from services.gateway.experiments.statistics import Moments
from tests.gateway.experiments.simulated import Variant, looks

STRICT = Guardrails(error_increase=0.0, cost_increase=0.0)


def first_decision(seed: int, goal: Metric, variants: dict[str, Variant], rules: Guardrails = STRICT) -> str:
    """The winner at the first look that has one, or the variant that is stopped first; empty when nothing happens."""
    names = list(variants)
    for measured in looks(seed, variants):
        if winner := conclusion.concluded(names, goal, measured).winner:
            return winner
        for name in names[1:]:
            if conclusion.breach(rules, measured[names[0]], measured[name], conclusion.level(len(names))):
                return f"{name} is stopped"
    return ""


def test_of_a_hundred_experiments_without_a_difference_at_most_five_end() -> None:
    same = {"a": Variant(), "b": Variant()}

    ended = [first_decision(seed, (COST, ERRORS)[seed % 2], same) for seed in range(100)]

    assert sum(map(bool, ended)) <= 5, ended


def test_a_variant_that_costs_less_wins() -> None:
    for seed in range(10):
        assert "b" == first_decision(seed, COST, {"a": Variant(), "b": Variant(cost=0.0012)})
        assert "a" == first_decision(seed, COST, {"a": Variant(), "b": Variant(cost=0.004)}, Guardrails(None))


def test_a_variant_that_fails_less_often_wins() -> None:
    for seed in range(10):
        variants = {"a": Variant(errors=0.15), "b": Variant(errors=0.15), "c": Variant(errors=0.02)}
        assert "c" == first_decision(seed, ERRORS, variants)


def test_a_variant_that_fails_or_costs_too_much_is_stopped() -> None:
    rules = Guardrails(error_increase=0.05, cost_increase=0.5)
    failing = {"a": Variant(), "b": Variant(errors=0.4)}
    dear = {"a": Variant(), "b": Variant(cost=0.008)}
    cached = conclusion.CACHED
    assert "b is stopped" == first_decision(1, cached, failing, rules)
    assert "b is stopped" == first_decision(1, cached, dear, rules)
    assert "" == first_decision(1, cached, dear, Guardrails(cost_increase=None))
    # Within what is allowed.
    assert "" == first_decision(1, cached, {"a": Variant(), "b": Variant(cost=0.0024, errors=0.05)}, rules)


def test_the_sentence_says_what_is_better_and_by_how_much() -> None:
    *_, measured = looks(1, {"a": Variant(), "b": Variant(cost=0.0012)})
    found = conclusion.concluded(["a", "b"], COST, measured)

    difference = conclusion.findings(["a", "b"], measured)["b"]["cost_usd"].difference
    assert difference is not None
    assert (
        f"b costs less than a: {-difference.high:.3g} to {-difference.low:.3g} USD a request."
        in found.sentence
    )
    assert "at most 5 of 100 experiments" in found.sentence
    turned = conclusion.concluded(["b", "a"], COST, measured)
    assert "b costs less than a" in turned.sentence


@pytest.mark.parametrize("requests", [0, 99])
def test_of_few_requests_nothing_is_said(requests: int) -> None:
    few = {name: Moments(units=requests, requests=requests) for name in conclusion.METRICS}
    found = conclusion.concluded(["a", "b"], COST, {"a": few, "b": few})

    assert ("", True) == (found.winner, found.sentence.startswith("Too little is known"))
