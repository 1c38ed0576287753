"""Which requests take part in an experiment, which variant they get, and what becomes of them."""

from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.gateway.config.plans import Plan
from services.gateway.experiments import assignment, definition
from services.gateway.experiments.assignment import Running
from services.gateway.keys.permissions import Caller
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest

SALT = b"0123456789abcdef"
CALLER = Caller("key-1", Plan("open"), user_id="ann", organization_id="acme")
A = {"name": "a"}


def live(
    *variants: dict[str, Any], salt: bytes = SALT, stopped: tuple[str, ...] = (), **more: Any
) -> Running:
    described = definition.parse({"name": "test", "variants": list(variants), **more})
    return Running("ex-1", salt, described, "pr-1" if described.prompt else "", frozenset(stopped))


def chat(*said: str, **more: Any) -> ModelRequest:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said or ("Hello",))]
    return chat_request.parse(orjson.dumps({"messages": messages, **more}))


def variant_of(one: Running, caller: Caller, request: ModelRequest) -> str:
    found = assignment.of_request([one], caller, request).assignment
    return "" if found is None else found.variant


@settings(max_examples=20)
@given(st.lists(st.floats(0.5, 1000), min_size=2, max_size=8), st.binary(min_size=1, max_size=16))
def test_each_variant_gets_the_share_of_its_weight(weights: list[float], salt: bytes) -> None:
    variants = [{"name": f"v{i}", "weight": weight} for i, weight in enumerate(weights)]
    described = live(*variants).definition.variants
    counts = Counter(assignment.chosen(described, assignment.hashed(salt, str(i))).name for i in range(2000))

    for i, weight in enumerate(weights):
        share = weight / sum(weights)
        # Six standard deviations.
        assert counts[f"v{i}"] / 2000 == pytest.approx(
            share, abs=6 * (share * (1 - share) / 2000) ** 0.5 + 0.001
        )


@settings(max_examples=20)
@given(st.text(min_size=1, max_size=20))
def test_the_same_user_gets_the_same_variant_and_experiments_divide_independently(user: str) -> None:
    one, other = live(A, {"name": "b"}), live(A, {"name": "b"}, salt=b"another")
    ann = replace(CALLER, user_id=user)

    assert variant_of(one, ann, chat()) == variant_of(one, replace(ann, key_id="key-2"), chat("More"))
    users = [replace(CALLER, user_id=str(i)) for i in range(400)]
    both = Counter((variant_of(one, each, chat()), variant_of(other, each, chat())) for each in users)
    assert len(both) == 4
    assert min(both.values()) > 50


def test_a_key_and_a_conversation_stay_with_a_variant_of_their_own() -> None:
    by_key = live(A, {"name": "b"}, sticky="key")
    keys = {variant_of(by_key, replace(CALLER, key_id=str(i)), chat()) for i in range(20)}
    by_conversation = live(A, {"name": "b"}, sticky="conversation")
    begun = [f"Question {i}" for i in range(20)]
    first = [variant_of(by_conversation, CALLER, chat(text)) for text in begun]

    assert {"a", "b"} == keys == set(first)
    assert first == [variant_of(by_conversation, CALLER, chat(text, "Answer", "And?")) for text in begun]
    assert first != [
        variant_of(by_conversation, replace(CALLER, user_id="bob"), chat(text)) for text in begun
    ]


def test_a_variant_changes_the_request() -> None:
    sets = {
        "model": "large",
        "strategy": "cost",
        "powerful_share": 0.25,
        "parameters": {"temperature": 0.5, "max_completion_tokens": 77},
    }
    one = live({"name": "a", "weight": 0.001}, {"name": "b", "weight": 1000, **sets})
    before = chat(top_p=0.5)
    after = assignment.of_request([one], CALLER, before)

    assert ("large", "cost", 0.25, 77) == (
        after.model,
        after.hints.strategy,
        after.hints.powerful_share,
        after.output_tokens,
    )
    assert {**before.body, "temperature": 0.5, "max_completion_tokens": 77} == after.body
    assert after.assignment is not None
    assert ("ex-1", "test", "b") == (
        after.assignment.experiment_id,
        after.assignment.experiment,
        after.assignment.variant,
    )
    assert 0 <= (after.assignment.unit or 0) < 2**63


@pytest.mark.parametrize(
    ("variant", "more"),
    [
        ({"model": "large"}, {"model": "small"}),
        ({"strategy": "cost"}, {"lumni": {"strategy": "quality"}}),
        ({"powerful_share": 0.5}, {"lumni": {"threshold": 0.5}}),
        ({"powerful_share": 0.5}, {"lumni": {"task_type": "fast"}}),
        ({"parameters": {"temperature": 1}}, {"temperature": 0}),
        ({"parameters": {"max_completion_tokens": 9}}, {"max_tokens": 5}),
    ],
)
def test_a_request_that_says_itself_what_variants_set_takes_no_part(
    variant: dict[str, Any], more: dict[str, Any]
) -> None:
    one = live(A, {"name": "b", **variant})
    assert variant_of(one, CALLER, chat())
    request = chat(**more)
    assert request is assignment.of_request([one], CALLER, request)


@pytest.mark.parametrize(
    ("caller", "more"),
    [
        (replace(CALLER, organization_id="rival"), {"organization_id": "acme"}),
        (CALLER, {"plans": ["free"]}),
        (replace(CALLER, models=("small",)), {}),
        # Its texts are for the models that it names.
        (replace(CALLER, user_id="lumni-evaluate"), {}),
    ],
)
def test_a_caller_who_may_not_takes_no_part(caller: Caller, more: dict[str, Any]) -> None:
    one = live(A, {"name": "b", "model": "large"}, **more)
    assert "" == variant_of(one, caller, chat())


def test_requests_of_a_stopped_variant_are_as_without_an_experiment() -> None:
    one = live(A, {"name": "b", "model": "large"})
    users = [replace(CALLER, user_id=str(i)) for i in range(50)]
    before = [variant_of(one, user, chat()) for user in users]
    after = [variant_of(replace(one, stopped=frozenset("b")), user, chat()) for user in users]

    assert [variant if variant == "a" else "" for variant in before] == after


def test_a_promoted_variant_is_everybodys_and_measured_no_more() -> None:
    one = replace(live(A, {"name": "b", "model": "large"}), promoted="b")
    for i in range(20):
        request = assignment.of_request([one], replace(CALLER, user_id=str(i)), chat())
        assert request.assignment is not None
        assert ("large", "b", None) == (request.model, request.assignment.variant, request.assignment.unit)


def test_the_experiment_that_began_first_takes_a_request() -> None:
    first, second = live(A, {"name": "b"}, model="small"), live({"name": "c"}, {"name": "d"})
    found = [
        assignment.of_request([first, second], CALLER, request).assignment
        for request in (chat(), chat(model="small"), chat(model="large"))
    ]

    assert [True, True, False] == [one is not None for one in found]
    assert ["test", "test"] == [one.experiment for one in found if one is not None]
    assert {"c", "d"} >= {found[0] and found[0].variant}
    assert {"a", "b"} >= {found[1] and found[1].variant}


def test_a_prompts_requests_are_divided_among_its_versions() -> None:
    versions = ({"name": "a", "prompt_version": "1"}, {"name": "b", "prompt_version": "staging"})
    one = live(*versions, prompt="greeting", sticky="conversation")
    found = [assignment.of_prompt([one], CALLER, "pr-1", {"variables": {"n": i}}) for i in range(20)]

    assert {("a", "1"), ("b", "staging")} == {(each[0].variant, each[1]) for each in found if each}
    # An organization's own prompt may have the same name.
    assert assignment.of_prompt([one], CALLER, "pr-2", {}) is None
    assert "" == variant_of(one, CALLER, chat())
    # Nothing of the body has been checked yet.
    for body in ({"messages": 7}, {"messages": [None, {"content": [3, {}]}]}, {"input": "x"}, {}):
        assert assignment.of_prompt([one], CALLER, "pr-1", body)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"variants": [A]}, "variants"),
        ({"variants": [A, A]}, "variants"),
        ({"variants": [A, {"name": "B!"}]}, "variants[1].name"),
        ({"variants": [A, {"name": "b", "weight": 0}]}, "variants[1].weight"),
        ({"variants": [A, {"name": "b", "colour": 1}]}, "variants[1].colour"),
        ({"variants": [A, {"name": "b", "strategy": "best"}]}, "variants[1].strategy"),
        ({"variants": [A, {"name": "b", "powerful_share": 2}]}, "variants[1].powerful_share"),
        ({"variants": [A, {"name": "b", "prompt_version": "2"}]}, "variants[1].prompt_version"),
        ({"variants": [A, {"name": "b"}], "prompt": "greeting"}, "variants[0].prompt_version"),
        (
            {"variants": [A, {"name": "b", "parameters": {"temperature": 3}}]},
            "variants[1].parameters.temperature",
        ),
        (
            {"variants": [A, {"name": "b", "parameters": {"reasoning_effort": []}}]},
            "variants[1].parameters.reasoning_effort",
        ),
        (
            {"variants": [A, {"name": "b", "parameters": {"max_completion_tokens": 0}}]},
            "variants[1].parameters.max_completion_tokens",
        ),
        ({"variants": [A, {"name": "b"}], "sticky": "moon"}, "sticky"),
        ({"variants": [A, {"name": "b"}], "goal": "fame"}, "goal"),
        ({"variants": [A, {"name": "b"}], "guardrails": {"error_increase": 2}}, "guardrails.error_increase"),
        ({"variants": [A, {"name": "b"}], "name": ""}, "name"),
    ],
)
def test_what_is_wrong_with_a_definition_is_named(given: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as caught:
        definition.parse({"name": "test", **given})
    assert param == caught.value.param


def test_a_definition_is_read_as_it_is_shown() -> None:
    parameters = {"temperature": 0.5, "reasoning_effort": "low"}
    one = live(A, {"name": "b", "parameters": parameters}, plans=["open"], guardrails={"cost_increase": 0.5})

    assert one.definition == definition.parse(orjson.loads(orjson.dumps(one.definition.given)))
