"""Filters, pins, groups, fallbacks: what is listed, in what order, and the error when nothing is."""

from collections import Counter
from typing import Any

import pytest

from services.chassis.candidates import OnlyOn
from services.chassis.eligibility import Policy, Requirements
from services.chassis.errors import Exhausted, Fault, Forbidden, Invalid, NotFound, Unavailable
from services.selector.live.snapshot import Headroom, Report, unknown
from services.selector.models.options import Options
from services.selector.ranking.filters import Filters
from services.selector.ranking.select import Preferences, Selection, Selector, Task
from tests.selector.fleets import deployment, healthy, selector

REQUIREMENTS = Requirements(prompt_tokens=1000, output_tokens=500)


def select(
    chosen: Selector,
    requirements: Requirements = REQUIREMENTS,
    policy: Policy | None = None,
    *,
    powerful: bool = True,
    snapshot: Any = None,
    **preferences: Any,
) -> Selection:
    moment = unknown(chosen.table) if snapshot is None else snapshot
    return chosen.select(
        Task("code", powerful), requirements, policy or Policy(), Preferences(**preferences), moment
    )


def ids(chosen: Selector, selection: Selection, only_on: OnlyOn | None = None) -> list[str]:
    return [
        chosen.table.deployments[candidate.index].id
        for candidate in selection.candidates
        if only_on in (None, candidate.only_on)
    ]


def test_a_powerful_request_goes_to_the_best_model_and_a_fast_one_to_a_cheap_model_that_is_good_enough() -> (
    None
):
    chosen = selector(
        [
            deployment("strong", dollars=(5.0, 20.0)),
            deployment("good", dollars=(0.1, 0.4)),
            deployment("bad", dollars=(0.01, 0.04)),
        ],
        {"strong": 90, "good": 70, "bad": 20},
    )
    assert ids(chosen, select(chosen, powerful=True))[0] == "strong"
    assert ids(chosen, select(chosen, powerful=False)) == ["good", "strong", "bad"]


def test_a_model_above_the_cost_ceiling_is_the_last_resort_of_powerful_requests() -> None:
    chosen = selector(
        [deployment("gold", dollars=(150.0, 600.0)), deployment("silver")], {"gold": 95, "silver": 60}
    )
    assert ids(chosen, select(chosen)) == ["silver", "gold"]


@pytest.mark.parametrize(
    ("requirements", "policy", "kind", "reason", "name"),
    [
        (Requirements(operation="embeddings"), Policy(), Invalid, "CAPABILITY_MISSING", "operation"),
        (Requirements(capabilities=("vision",)), Policy(), Invalid, "CAPABILITY_MISSING", "vision"),
        (Requirements(prompt_tokens=200_000), Policy(), Invalid, "CONTEXT_LENGTH_EXCEEDED", "context_length"),
        (REQUIREMENTS, Policy(max_cost_nano_usd=1), Invalid, "MAX_COST", "max_cost"),
        (REQUIREMENTS, Policy(access_groups=("gold",)), Forbidden, "MODEL_NOT_ALLOWED", "access_groups"),
        (REQUIREMENTS, Policy(allowed_models=("other",)), Forbidden, "MODEL_NOT_ALLOWED", "allowed_models"),
        (REQUIREMENTS, Policy(provider="groq"), Forbidden, "MODEL_NOT_ALLOWED", "provider"),
        (
            REQUIREMENTS,
            Policy(denied_providers=("openai",)),
            Forbidden,
            "MODEL_NOT_ALLOWED",
            "denied_providers",
        ),
        (REQUIREMENTS, Policy(denied_regions=("us",)), Forbidden, "MODEL_NOT_ALLOWED", "denied_regions"),
    ],
)
def test_the_error_names_the_filter_that_removed_the_last_candidate(
    requirements: Requirements, policy: Policy, kind: type[Fault], reason: str, name: str
) -> None:
    chosen = selector([deployment("one", capabilities=frozenset(), region="us")])
    for model in ("auto", "one"):
        with pytest.raises(kind) as caught:
            select(chosen, requirements, policy, model=model)
        assert reason == caught.value.reason
        assert name == caught.value.metadata["filter"]


@pytest.mark.parametrize(
    ("report", "kind", "reason"),
    [
        (Report("one", callable=False), Unavailable, "NO_HEALTHY_DEPLOYMENT"),
        (Report("one", breaker_open=True), Unavailable, "NO_HEALTHY_DEPLOYMENT"),
        (Report("one", headroom=(Headroom("rpd", 10, 0, 1600.0),)), Exhausted, "QUOTA_EXHAUSTED"),
    ],
)
def test_without_a_healthy_deployment_the_error_names_when_to_retry(
    report: Report, kind: type[Fault], reason: str
) -> None:
    chosen = selector([deployment("one")])
    with pytest.raises(kind) as caught:
        select(chosen, snapshot=healthy(chosen, one=report))
    assert reason == caught.value.reason
    assert caught.value.retry_after_s
    if kind is Exhausted:
        assert 600 == pytest.approx(caught.value.retry_after_s)


def test_the_output_is_reserved_in_the_context_but_no_more_than_a_model_can_say() -> None:
    chosen = selector(
        [
            deployment("small", context_window=8_000),
            deployment("terse", context_window=8_000, max_output_tokens=500),
        ]
    )
    assert ids(chosen, select(chosen, Requirements(prompt_tokens=7_000, output_tokens=2_000))) == ["terse"]


def test_the_likely_length_decides_on_the_context_and_the_bound_on_the_price() -> None:
    chosen = selector([deployment("one", context_window=8_000, dollars=(1.0, 0.0))])
    selection = select(chosen, Requirements(prompt_tokens=20_000, likely_prompt_tokens=5_000))
    assert 20_000 * 1_000 == selection.candidates[0].max_cost_nano_usd


def test_what_the_filters_removed_is_listed_by_model() -> None:
    chosen = selector(
        [
            deployment("a@1", access_groups=("free",)),
            deployment("a@2"),
            deployment("b", access_groups=("free",), capabilities=frozenset()),
            deployment("c"),
        ]
    )
    selection = select(chosen, Requirements(capabilities=("tools",)), Policy(access_groups=("free",)))
    assert [("access_groups", ("c",)), ("tools", ("b",))] == [
        (one.filter, one.models) for one in selection.removals
    ]


@pytest.mark.parametrize(
    "name", ["big", "alias", "big@openai", "openai/gpt-4o", "GPT-4o", "gpt-4o-2024-08-06"]
)
def test_a_model_is_pinned_by_any_of_its_names(name: str) -> None:
    chosen = selector(
        [deployment("small"), deployment("big@openai", model="big", litellm_model="gpt-4o")],
        {"gpt-4o": 50},
        aliases={"alias": "big"},
    )
    assert ids(chosen, select(chosen, model=name)) == ["big@openai"]


def test_a_pin_on_nothing_is_not_found() -> None:
    with pytest.raises(NotFound, match="nothing is not configured") as caught:
        select(selector([deployment("one")]), model="nothing")
    assert "MODEL_NOT_FOUND" == caught.value.reason


def test_a_pinned_model_leads_to_its_fallbacks_and_never_to_its_base_model_under_another_name() -> None:
    chosen = selector(
        [
            deployment("pinned@openai", model="pinned", litellm_model="gpt-4o"),
            deployment("twin@azure", model="twin", litellm_model="gpt-4o", provider="azure"),
            deployment("spare"),
            deployment("long", context_window=1_000_000),
            deployment("frank"),
            deployment("stranger"),
        ],
        {"gpt-4o": 50},
        fallbacks={"pinned": ("spare",)},
        context_window_fallbacks={"pinned": ("long",)},
        content_policy_fallbacks={"pinned": ("frank",)},
    )
    selection = select(chosen, model="pinned")
    assert ids(chosen, selection, OnlyOn.ANY) == ["pinned@openai", "spare"]
    assert ids(chosen, selection, OnlyOn.CONTEXT) == ["long"]
    assert ids(chosen, selection, OnlyOn.POLICY) == ["frank"]
    too_long = select(chosen, Requirements(prompt_tokens=500_000), model="pinned")
    assert ids(chosen, too_long, OnlyOn.ANY) == ["long"]


def test_a_pin_that_is_down_is_not_answered_from_another_region() -> None:
    chosen = selector(
        [
            deployment("gpt-eu", litellm_model="gpt-4o", region="eu"),
            deployment("gpt-us", litellm_model="gpt-4o", region="us"),
        ],
        {"gpt-4o": 50},
    )
    assert ids(chosen, select(chosen, model="gpt-eu")) == ["gpt-eu"]
    down = healthy(chosen, **{"gpt-eu": Report("gpt-eu", breaker_open=True)})
    with pytest.raises(Unavailable):
        select(chosen, model="gpt-eu", snapshot=down)


def test_a_fallback_never_escapes_the_plan() -> None:
    chosen = selector(
        [deployment("cheap", access_groups=("free",)), deployment("dear", access_groups=("pro",))],
        fallbacks={"cheap": ("dear",)},
    )
    assert ids(chosen, select(chosen, policy=Policy(access_groups=("free",)), model="cheap")) == ["cheap"]
    with pytest.raises(Forbidden):
        select(chosen, policy=Policy(access_groups=("free",)), model="dear")


def test_a_pin_that_is_down_leads_to_its_fallback_and_a_forbidden_one_does_not() -> None:
    chosen = selector([deployment("main"), deployment("spare")], default_fallbacks=("spare",))
    down = healthy(chosen, main=Report("main", breaker_open=True))
    assert ids(chosen, select(chosen, model="main", snapshot=down)) == ["spare"]
    with pytest.raises(Forbidden):
        select(chosen, policy=Policy(allowed_models=("spare",)), model="main")


def test_a_group_is_shared_by_weight_or_rpm_and_order_comes_first() -> None:
    members = [
        deployment("router@1", weight=3.0),
        deployment("router@2", weight=1.0),
        deployment("router@3", weight=8.0, order=1),
    ]
    chosen = selector(members, aliases={"smart-router": "router"})
    first = Counter(
        ids(chosen, select(chosen, model="smart-router", seed=str(seed)))[0] for seed in range(1000)
    )
    assert {"router@1", "router@2"} == set(first)
    assert 700 < first["router@1"] < 800
    by_rpm = selector([deployment("router@1", rpm=90), deployment("router@2", rpm=10)])
    first = Counter(ids(by_rpm, select(by_rpm, model="router", seed=str(seed)))[0] for seed in range(1000))
    assert 860 < first["router@1"] < 940


@pytest.mark.parametrize(
    ("strategy", "expected", "never"),
    [
        ("latency-based-routing", "router@quick", "router@cheap"),
        ("least-busy", "router@idle", "router@cheap"),
        ("cost-based-routing", "router@cheap", "router@quick"),
        ("usage-based-routing-v2", "router@idle", "router@cheap"),
    ],
)
def test_a_group_follows_the_routing_strategy_of_litellm_without_a_stampede(
    strategy: str, expected: str, never: str
) -> None:
    members = [
        deployment("router@quick"),
        deployment("router@idle"),
        deployment("router@cheap", dollars=(0.1, 0.1)),
        deployment("router@last", order=1),
    ]
    chosen = selector(members, routing_strategy=strategy)
    used, scarce = (Headroom("rpm", 100, 10, 2000.0),), (Headroom("rpm", 100, 5, 2000.0),)
    moment = healthy(
        chosen,
        **{
            "router@quick": Report("router@quick", latency_ms=10, in_flight=9, headroom=used),
            "router@idle": Report("router@idle", latency_ms=900),
            "router@cheap": Report("router@cheap", latency_ms=990, in_flight=10, headroom=scarce),
            "router@last": Report("router@last", latency_ms=1),
        },
    )
    listed = [
        ids(chosen, select(chosen, model="router", snapshot=moment, seed=str(seed))) for seed in range(300)
    ]
    first = Counter(order[0] for order in listed)
    assert expected == first.most_common(1)[0][0]
    assert never not in first
    assert (len(first) > 1) == (strategy != "cost-based-routing")
    assert all(order[-1] == "router@last" and 4 == len(order) for order in listed)


def test_load_spreads_over_equal_deployments_by_power_of_two_choices() -> None:
    members = [deployment(f"gpt@{number}", model="gpt") for number in range(4)]
    chosen = selector([*members, deployment("weak")], {"gpt": 90, "weak": 10})
    busy = healthy(chosen, **{"gpt@0": Report("gpt@0", latency_ms=500, in_flight=20)})
    listed = [ids(chosen, select(chosen, snapshot=busy, seed=str(seed))) for seed in range(600)]
    first = Counter(order[0] for order in listed)
    assert 0 == first["gpt@0"]
    assert min(first[f"gpt@{number}"] for number in (1, 2, 3)) > 120
    assert all(order[-1] == "weak" and len(set(order)) == 5 for order in listed)


def test_an_outage_of_one_provider_leaves_something_to_fall_back_on() -> None:
    members = [deployment(f"gpt@{number}", model="gpt") for number in range(20)]
    chosen = selector(
        [*members, deployment("weak"), deployment("weaker")], {"gpt": 90, "weak": 10, "weaker": 5}
    )
    listed = [one.partition("@")[0] for one in ids(chosen, select(chosen))]
    assert ["gpt", "gpt", "gpt", "weak", "weaker", "gpt", "gpt", "gpt"] == listed


def test_a_free_model_that_is_also_a_fallback_for_long_prompts_is_in_the_free_tail() -> None:
    chosen = selector(
        [deployment("paid"), deployment("gift", dollars=(0.0, 0.0))],
        context_window_fallbacks={"paid": ("gift",)},
    )
    assert ids(chosen, select(chosen, model="paid"), OnlyOn.CONTEXT) == ["gift"]
    assert ids(chosen, select(chosen, model="paid", free_tail=True), OnlyOn.ANY) == ["paid", "gift"]


def test_an_answer_without_a_cap_may_cost_as_much_as_the_longest_one() -> None:
    chosen = selector([deployment("one", max_output_tokens=1000), deployment("two", context_window=2000)])
    selection = select(chosen, Requirements(prompt_tokens=500))
    # 500 tokens of prompt at a dollar per million, and 1,000 or 2,000 of answer at four.
    assert {"one": 4_500_000, "two": 8_500_000} == {
        chosen.table.deployments[one.index].id: one.max_cost_nano_usd for one in selection.candidates
    }
    with pytest.raises(Invalid, match="max_cost_usd"):
        select(chosen, Requirements(prompt_tokens=500), Policy(max_cost_nano_usd=4_000_000))


def test_long_texts_are_not_remembered() -> None:
    chosen = selector([deployment("one")])
    filters = Filters(chosen.table)
    for number in range(10):
        filters.usable(REQUIREMENTS, Policy(denied_providers=(str(number) * 5000,)))
    assert not filters._remembered
    filters.usable(REQUIREMENTS, Policy(denied_providers=("other",)))
    assert 1 == len(filters._remembered)


def test_the_free_tail_follows_what_is_paid() -> None:
    chosen = selector(
        [
            deployment("best", access_groups=("mine",)),
            deployment("next", access_groups=("mine",)),
            deployment("gift", access_groups=("mine",), dollars=(0.0, 0.0)),
            deployment("closed", dollars=(0.0, 0.0), access_groups=("other",)),
        ],
        {"best": 90, "next": 80, "gift": 5},
        options=Options(candidates=2),
    )
    mine = Policy(access_groups=("mine",))
    assert ids(chosen, select(chosen, policy=mine)) == ["best", "next"]
    assert ids(chosen, select(chosen, policy=mine, free_tail=True)) == ["best", "next", "gift"]


def test_a_tenant_is_spread_over_models_that_are_as_good() -> None:
    chosen = selector([deployment("one"), deployment("two")], {"one": 80, "two": 80})
    table = chosen.table
    recent = table.among([1]).astype(float)
    selection = chosen.select(Task("code"), REQUIREMENTS, Policy(), Preferences(), unknown(table), recent)
    assert ids(chosen, selection) == ["two", "one"]


def test_weights_and_strategies_that_do_not_exist_are_refused() -> None:
    chosen = selector([deployment("one")])
    for preferences in ({"strategy": "best"}, {"weights": {"beauty": 1.0}}, {"weights": {"latency": -1.0}}):
        with pytest.raises(Invalid):
            select(chosen, **preferences)


def test_the_weights_of_the_default_strategy_are_the_documented_ones() -> None:
    selection = select(selector([deployment("one")]))
    assert "balanced" == selection.strategy
    assert (0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.0) == pytest.approx(selection.scores.weights)


def vectors(ident: str, weights: str, **about: Any) -> Any:
    return deployment(ident, litellm_model=weights, mode="embedding", capabilities=frozenset(), **about)


@pytest.mark.parametrize("pinned", ["vectors", "vectors@openai"])
def test_only_deployments_of_the_same_weights_answer_for_an_embedding_model(pinned: str) -> None:
    chosen = selector(
        [
            vectors("vectors@openai", "text-embedding-3-small"),
            vectors("vectors@azure", "mine", base_model="azure/text-embedding-3-small"),
            vectors("vectors@other", "text-embedding-3-large"),
            vectors("spare@openai", "openai/Text-Embedding-3-Small"),
            vectors("spare@other", "bge-m3", dollars=(0.0, 0.0)),
        ],
        {},
        fallbacks={"vectors": ("spare",)},
    )
    selection = select(chosen, Requirements(operation="embeddings"), model=pinned, free_tail=True)

    listed = ids(chosen, selection)
    assert "vectors@openai" == listed[0] or pinned == "vectors"
    assert {"vectors@openai", "spare@openai"} <= set(listed)
    assert not {"vectors@other", "spare@other"} & set(listed)
