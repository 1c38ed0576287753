"""Who may and can take a request, rule by rule."""

import pytest

from services.chassis import eligibility
from services.chassis.deployments import Deployment
from services.chassis.eligibility import Policy, Requirements
from services.chassis.errors import Forbidden, Invalid
from services.chassis.prices import FREE, UNPRICED, Price, Row, rates_of

ONE_DOLLAR = Price((Row("", 0, rates_of({"input": 10**9, "output": 10**9})),))


def deployment(ident: str = "one", **about: object) -> Deployment:
    return Deployment(
        **{
            "id": ident,
            "model": ident,
            "provider": "openai",
            "litellm_model": ident,
            "price": ONE_DOLLAR,
            **about,
        }  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("policy", [Policy(priced_only=True), Policy(max_cost_nano_usd=10**12)])
def test_what_nobody_knows_the_price_of_is_closed_to_whoever_must_know_it(policy: Policy) -> None:
    unknown, free = deployment("unknown", price=UNPRICED), deployment("free", price=FREE)

    left = eligibility.apply([unknown, free], eligibility.permissions(policy, {}))

    assert [free] == left
    assert [unknown] == eligibility.apply([unknown], eligibility.permissions(Policy(), {}))
    with pytest.raises(Forbidden, match="nobody knows what it costs"):
        eligibility.apply([unknown], eligibility.permissions(policy, {}))


@pytest.mark.parametrize(
    ("policy", "permitted"),
    [
        (Policy(), True),
        (Policy(access_groups=("gold", "silver")), True),
        (Policy(access_groups=("silver",)), False),
        (Policy(allowed_models=("alias",)), True),
        (Policy(allowed_models=("other",)), False),
        (Policy(provider="openai"), True),
        (Policy(provider="groq"), False),
        (Policy(denied_providers=("groq",)), True),
        (Policy(denied_providers=("openai",)), False),
        (Policy(denied_regions=("us",)), True),
        (Policy(denied_regions=("eu",)), False),
    ],
)
def test_a_deployment_is_used_only_where_every_part_of_the_policy_permits_it(
    policy: Policy, permitted: bool
) -> None:
    one = deployment(access_groups=("gold",), region="eu")
    rules = list(eligibility.permissions(policy, {"alias": "one"}))

    assert permitted == all(rule.passes(one) for rule in rules)
    if not permitted:
        with pytest.raises(Forbidden) as caught:
            eligibility.apply([one], rules)
        assert {"filter": rules[0].name} == caught.value.metadata


def test_an_unknown_region_may_be_a_denied_one() -> None:
    with pytest.raises(Forbidden):
        eligibility.apply([deployment()], eligibility.permissions(Policy(denied_regions=("us",)), {}))


def test_an_operation_is_for_models_of_its_mode() -> None:
    chat, embedding = deployment("chat"), deployment("embedding", mode="embedding")
    for operation, expected in (("chat", chat), ("messages", chat), ("embeddings", embedding)):
        rules = eligibility.static(Requirements(operation=operation), Policy(), {})
        assert [expected] == eligibility.apply([chat, embedding], rules)
    with pytest.raises(Invalid, match="can do moderation"):
        eligibility.apply([chat], eligibility.static(Requirements(operation="moderation"), Policy(), {}))


def test_a_model_has_all_the_capabilities_that_are_needed() -> None:
    able = deployment("able", capabilities=frozenset({"vision", "tools"}))
    half = deployment("half", capabilities=frozenset({"vision"}))
    needed = Requirements(capabilities=("vision", "tools"))

    assert [able] == eligibility.apply([able, half], eligibility.abilities(needed))
    with pytest.raises(Invalid) as caught:
        eligibility.apply([half], eligibility.abilities(needed))
    assert ("CAPABILITY_MISSING", {"filter": "tools"}) == (caught.value.reason, caught.value.metadata)


@pytest.mark.parametrize(
    ("requirements", "window", "longest_answer", "fits"),
    [
        (Requirements(prompt_tokens=900, output_tokens=100), 1000, 0, True),
        (Requirements(prompt_tokens=900, output_tokens=101), 1000, 0, False),
        # No answer is longer than the model can give.
        (Requirements(prompt_tokens=900, output_tokens=101), 1000, 100, True),
        # The likely length decides, not the upper bound.
        (Requirements(prompt_tokens=5000, likely_prompt_tokens=900), 1000, 0, True),
        (Requirements(prompt_tokens=10**9), 0, 0, True),
    ],
)
def test_prompt_and_answer_fit_into_the_context_window_where_it_is_known(
    requirements: Requirements, window: int, longest_answer: int, fits: bool
) -> None:
    one = deployment(context_window=window, max_output_tokens=longest_answer)
    assert fits == eligibility.context(requirements).passes(one)


def test_the_fault_of_a_request_that_is_too_long_names_the_longest_window_that_was_left() -> None:
    rule = eligibility.context(Requirements(prompt_tokens=5000))
    left = [deployment("small", context_window=1000), deployment("larger", context_window=2000)]
    with pytest.raises(Invalid, match="window of 2000 tokens"):
        eligibility.apply(left, [rule])


def test_an_attempt_costs_at_most_what_is_permitted() -> None:
    # 1,000 tokens at a dollar per million: 1,000,000 nano-USD.
    one, needed = deployment(), Requirements(prompt_tokens=600, output_tokens=200, choices=2)

    assert 1_000_000 == eligibility.bound(one, needed)
    assert [] == list(eligibility.cost(needed, Policy()))
    assert [one] == eligibility.apply([one], eligibility.cost(needed, Policy(max_cost_nano_usd=1_000_000)))
    with pytest.raises(Invalid, match=r"may cost 0\.001000 USD, more than 0\.001000"):
        eligibility.apply([one], eligibility.cost(needed, Policy(max_cost_nano_usd=999_999)))
