"""Selecting without the selector."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2 as pb

from services.chassis import errors, litellm_config
from services.chassis.deployments import Fleet
from services.gateway.config import switches
from services.gateway.peers.fallback_selection import REMEMBERED, FallbackSelection

CONFIG = """
model_list:
  - model_name: small
    litellm_params: {model: openai/a, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
    model_info: {max_input_tokens: 1000, access_groups: [free], region: eu}
  - model_name: large
    litellm_params: {model: openai/b, input_cost_per_token: 0.00001, output_cost_per_token: 0.00002}
    model_info: {max_input_tokens: 100000, supports_vision: true, access_groups: [paid]}
  - model_name: gift
    litellm_params: {model: openai/c, input_cost_per_token: 0, output_cost_per_token: 0}
    model_info: {max_input_tokens: 50000, supports_pdf_input: true, access_groups: [free]}
router_settings:
  fallbacks: [{small: [large]}]
  context_window_fallbacks: [{large: [gift]}]
  model_group_alias: {tiny: small}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    path = tmp_path / "litellm_config.yaml"
    path.write_text(CONFIG)
    return litellm_config.load(path)


POLICY = {"access_groups", "allowed_models", "provider", "denied_regions", "free_tail"}


def asked(model: str = "auto", *, max_cost: int = 0, **about: Any) -> pb.SelectRequest:
    needs = {name: value for name, value in about.items() if name not in POLICY}
    policy = {name: value for name, value in about.items() if name in POLICY}
    return pb.SelectRequest(
        model=model,
        requirements=pb.Requirements(
            **{"prompt_tokens": 100, "likely_prompt_tokens": 30, "output_tokens": 50, **needs}
        ),
        policy=pb.Policy(max_cost_nano_usd=max_cost, **policy),
        context=chat_pb2.RequestContext(tenant="t", plan="p"),
    )


def selected(*deployments: str) -> pb.Selection:
    return pb.Selection(
        candidates=[pb.Candidate(deployment=one, only_on=chat_pb2.ONLY_ON_ANY) for one in deployments]
    )


def models(selection: pb.Selection) -> list[str]:
    return [candidate.model for candidate in selection.candidates]


def test_without_a_memory_the_configured_order_holds(fleet: Fleet) -> None:
    selection = FallbackSelection(fleet).select(asked())

    assert ["small", "large", "gift"] == models(selection)
    # 100 tokens of prompt and 50 of answer, at 1,000 and 2,000 nano-dollars a token.
    assert selection.candidates[0].max_cost_nano_usd == 200_000


def test_a_pinned_model_keeps_its_fallbacks_and_an_alias_its_target(fleet: Fleet) -> None:
    assert ["small", "large"] == models(FallbackSelection(fleet).select(asked("small")))
    assert ["small", "large"] == models(FallbackSelection(fleet).select(asked("tiny")))


def test_an_unknown_model_is_not_found(fleet: Fleet) -> None:
    with pytest.raises(errors.NotFound):
        FallbackSelection(fleet).select(asked("nothing"))


def test_no_caller_reaches_another_model_while_the_selector_is_down(fleet: Fleet) -> None:
    fallback = FallbackSelection(fleet)
    limited = asked()
    limited.policy.access_groups.append("free")
    assert ["small", "gift"] == models(fallback.select(limited))

    limited.policy.allowed_models.append("large")
    with pytest.raises(errors.Forbidden):
        fallback.select(limited)


def test_what_a_request_needs_is_looked_at(fleet: Fleet) -> None:
    fallback = FallbackSelection(fleet)

    assert ["large"] == models(fallback.select(asked(vision=True)))
    assert ["large", "gift"] == models(fallback.select(asked(likely_prompt_tokens=5000)))
    assert ["gift"] == models(fallback.select(asked(file=True)))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked("small", audio=True), "CAPABILITY_MISSING"),
        (asked(operation="embeddings"), "CAPABILITY_MISSING"),
        (asked(likely_prompt_tokens=500_000), "CONTEXT_LENGTH_EXCEEDED"),
        (asked("large", max_cost=1000), "MAX_COST"),
    ],
)
def test_the_errors_are_those_of_the_selector(fleet: Fleet, request_: pb.SelectRequest, reason: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        FallbackSelection(fleet).configured(request_, "")
    assert reason == caught.value.reason


@pytest.mark.parametrize("name", ["", "auto", "lumni/auto"])
def test_every_name_that_leaves_the_choice_open_does(fleet: Fleet, name: str) -> None:
    assert ["small", "large", "gift"] == models(FallbackSelection(fleet).configured(asked(name), ""))


@pytest.mark.parametrize("name", ["large", "large@openai", "openai/b"])
def test_a_model_is_pinned_by_its_name_its_id_and_as_litellm_writes_it(fleet: Fleet, name: str) -> None:
    assert ["large", "gift"] == models(FallbackSelection(fleet).configured(asked(name), ""))


def test_a_key_may_be_limited_to_an_alias(fleet: Fleet) -> None:
    limited = asked()
    limited.policy.allowed_models.append("tiny")
    assert ["small"] == models(FallbackSelection(fleet).select(limited))


def test_a_forbidden_pin_does_not_lead_to_its_fallback(fleet: Fleet) -> None:
    limited = asked("small")
    limited.policy.access_groups.append("paid")
    with pytest.raises(errors.Forbidden):
        FallbackSelection(fleet).select(limited)


def test_a_pin_keeps_the_fallbacks_for_other_reasons_and_the_free_tail(fleet: Fleet) -> None:
    wanted = asked("large")
    wanted.policy.free_tail = True
    selection = FallbackSelection(fleet).select(wanted)
    assert [("large", chat_pb2.ONLY_ON_ANY), ("gift", chat_pb2.ONLY_ON_ANY)] == [
        (one.model, one.only_on) for one in selection.candidates
    ]
    wanted.policy.free_tail = False
    assert chat_pb2.ONLY_ON_CONTEXT == FallbackSelection(fleet).select(wanted).candidates[1].only_on


def test_a_request_too_long_for_its_pin_leads_at_once_to_what_is_configured_for_that(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    path.write_text(CONFIG.replace("[{large: [gift]}]", "[{small: [gift]}]"))
    fallback = FallbackSelection(litellm_config.load(path))

    fits = fallback.configured(asked("small"), "").candidates
    assert [
        ("small", chat_pb2.ONLY_ON_ANY),
        ("large", chat_pb2.ONLY_ON_ANY),
        ("gift", chat_pb2.ONLY_ON_CONTEXT),
    ] == [(one.model, one.only_on) for one in fits]
    too_long = fallback.configured(asked("small", likely_prompt_tokens=5000), "").candidates
    assert [("gift", chat_pb2.ONLY_ON_ANY), ("large", chat_pb2.ONLY_ON_ANY)] == [
        (one.model, one.only_on) for one in too_long
    ]


def test_a_pin_is_never_answered_by_the_same_base_model_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    path.write_text("""
model_list:
  - model_name: gpt-eu
    litellm_params: {model: openai/gpt-4o}
    model_info: {region: eu}
  - model_name: gpt-us
    litellm_params: {model: openai/gpt-4o}
    model_info: {region: us}
""")
    selection = FallbackSelection(litellm_config.load(path)).configured(asked("gpt-eu"), "")
    assert ["gpt-eu"] == models(selection)


@pytest.mark.parametrize(
    "other",
    [
        {"strategy": "cost"},
        {"allowed_models": ["small", "large", "gift"]},
        {"access_groups": ["free", "paid"]},
        {"powerful_share": 0.5},
        {"threshold": 0.5},
        {"max_cost_nano_usd": 10**12},
        {"provider": "openai"},
        {"denied_providers": ["groq"]},
        {"tier": classifier_pb2.TIER_FAST},
        {"free_tail": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_selection_is_remembered_for_its_policy_alone(fleet: Fleet, other: dict[str, Any]) -> None:
    fallback = FallbackSelection(fleet)
    fallback.remember(asked(), selected("large@openai"))
    request = asked()
    request.policy.MergeFrom(pb.Policy(**other))

    assert ["small", "large", "gift"] == models(fallback.select(request))


def test_what_is_remembered_is_tried_only_where_it_fits_this_request(fleet: Fleet) -> None:
    fallback = FallbackSelection(fleet)

    def limited(prompt_tokens: int) -> pb.SelectRequest:
        one = asked(prompt_tokens=prompt_tokens, likely_prompt_tokens=prompt_tokens, output_tokens=50)
        one.policy.max_cost_nano_usd = 1_150_000
        return one

    fallback.remember(limited(520), selected("small@openai", "gift@openai"))
    assert ["small", "gift"] == models(fallback.select(limited(1000 - 50)))
    # Too long for the window of the first, though the numbers round to the same.
    assert ["gift"] == models(fallback.select(limited(1000)))
    fallback.remember(limited(520), selected("large@openai"))
    # Nothing that was said fits.
    assert ["small", "gift"] == models(fallback.select(limited(530)))


def test_a_deployment_that_only_the_selector_knows_is_left_out(fleet: Fleet) -> None:
    fallback = FallbackSelection(fleet)
    fallback.remember(asked(), selected("new@openai", "large@openai"))
    assert ["large"] == models(fallback.select(asked()))
    fallback.remember(asked(), selected("new@openai"))
    assert ["small", "large", "gift"] == models(fallback.select(asked()))


def test_a_request_that_only_asks_what_would_be_selected_is_not_remembered(fleet: Fleet) -> None:
    fallback = FallbackSelection(fleet)
    for policy in (pb.Policy(now_unix_ms=1), pb.Policy(weights={"latency": 1.0})):
        what_if = asked()
        what_if.policy.MergeFrom(policy)
        fallback.remember(what_if, selected("large@openai"))
        assert ["small", "large", "gift"] == models(fallback.select(what_if))


def test_only_so_many_selections_are_remembered_and_only_what_they_list(fleet: Fleet) -> None:
    fallback = FallbackSelection(fleet)
    long = pb.Selection(
        reason="r" * 500,
        candidates=[
            pb.Candidate(deployment="large@openai", benchmarks=[pb.Benchmark(source="s" * 200)] * 10)
        ],
    )
    tracemalloc.start()
    try:
        for number in range(3 * REMEMBERED):
            one = asked()
            one.policy.denied_providers.append(f"{number}" + "x" * 1000)
            fallback.remember(one, long)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < REMEMBERED * 1000
    assert ["small", "large", "gift"] == models(fallback.select(asked()))


requests = st.builds(
    asked,
    st.sampled_from(["auto", "small", "large", "gift", "tiny", "large@openai", "openai/a"]),
    prompt_tokens=st.sampled_from([10, 900, 1000, 50_000]),
    likely_prompt_tokens=st.sampled_from([0, 960, 1000, 99_999]),
    output_tokens=st.sampled_from([0, 40, 60, 5000]),
    choices=st.integers(0, 2),
    vision=st.booleans(),
    file=st.booleans(),
    max_cost=st.sampled_from([0, 0, 1_000_000, 100_000_000]),
    access_groups=st.sampled_from([[], ["free"], ["paid"], ["free", "paid"]]),
    allowed_models=st.sampled_from([[], [], ["tiny"], ["large", "gift"]]),
    provider=st.sampled_from(["", "", "openai", "groq"]),
    denied_regions=st.sampled_from([[], [], ["us"]]),
    free_tail=st.booleans(),
)


@given(st.lists(requests, min_size=1, max_size=4))
def test_whatever_is_remembered_every_candidate_may_and_can_take_the_request(
    fleet: Fleet, asked_for: list[pb.SelectRequest]
) -> None:
    fallback, known = FallbackSelection(fleet), {one.id: one for one in fleet.deployments}
    for request in asked_for:
        fallback.remember(request, selected(*known))
    for request in asked_for:
        try:
            selection = fallback.select(request)
        except errors.Fault:
            continue
        needs, policy = request.requirements, request.policy
        assert any(one.only_on == chat_pb2.ONLY_ON_ANY for one in selection.candidates)
        for candidate in selection.candidates:
            one = known[candidate.deployment]
            assert not needs.vision or "vision" in one.capabilities
            assert not needs.file or "file" in one.capabilities
            taken = (needs.likely_prompt_tokens or needs.prompt_tokens) + min(
                needs.output_tokens, one.max_output_tokens or needs.output_tokens
            )
            assert taken <= one.context_window
            answer = needs.output_tokens or one.longest_answer
            bound = one.price.bound(needs.prompt_tokens, answer, needs.choices or 1)
            assert bound == candidate.max_cost_nano_usd
            assert not policy.max_cost_nano_usd or bound <= policy.max_cost_nano_usd
            assert not policy.access_groups or set(policy.access_groups) & set(one.access_groups)
            allowed = [fleet.aliases.get(name, name) for name in policy.allowed_models]
            assert not allowed or one.model in allowed
            assert policy.provider in ("", one.provider)
            assert not policy.denied_regions or one.region == "eu"


def test_the_selectors_last_selection_is_remembered_for_such_a_request(fleet: Fleet) -> None:
    fallback = FallbackSelection(fleet)
    fallback.remember(asked(), selected("large@openai"))

    assert ["large"] == models(fallback.select(asked()))
    assert ["large"] == models(fallback.select(asked(output_tokens=51)))
    assert ["small", "large", "gift"] == models(fallback.select(asked(output_tokens=64)))
    # The bound is this request's own, not the remembered one's.
    assert fallback.select(asked()).candidates[0].max_cost_nano_usd == 2_000_000


def test_the_switches_are_on_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "lumni.yaml"
    path.write_text("plans: {}\n")
    assert switches.load(path) == switches.Switches(classification=True, selection=True, keep_features=False)

    path.write_text("switches: {selection: false}\n")
    assert switches.load(path) == switches.Switches(selection=False)


VECTORS = """
model_list:
  - {model_name: vectors, litellm_params: {model: openai/text-embedding-3-small}}
  - {model_name: vectors, litellm_params: {model: openai/text-embedding-3-large}}
  - model_name: spare
    litellm_params: {model: azure/mine, base_model: azure/text-embedding-3-small}
    model_info: {mode: embedding, input_cost_per_token: 0.0000001}
router_settings: {fallbacks: [{vectors: [spare]}]}
"""


def test_no_vectors_of_other_weights_come_while_the_selector_is_down(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    path.write_text(VECTORS)
    selection = FallbackSelection(litellm_config.load(path)).select(asked("vectors", operation="embeddings"))

    assert ["vectors@openai", "spare@azure"] == [one.deployment for one in selection.candidates]
