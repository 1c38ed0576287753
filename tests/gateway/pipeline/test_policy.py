"""What plan, key and request make of a policy together."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import AtLimit, Plan
from services.gateway.keys.permissions import Caller, Subject
from services.gateway.pipeline import policy
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest

PLAN = Plan("student", access_groups=("free",), strategy="cost", powerful_share=0.3, max_output_tokens=100)


def chat(**fields: Any) -> ModelRequest:
    return chat_request.parse(orjson.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}))


@pytest.mark.parametrize(
    ("key_share", "lumni", "share", "threshold"),
    [
        (None, {}, 0.3, None),
        # The key's own share is before the plan's, and a threshold of the request before both.
        (0.0, {}, 0.0, None),
        (0.1, {"threshold": 0.7}, None, 0.7),
    ],
)
def test_where_powerful_begins(
    key_share: float | None, lumni: dict[str, Any], share: float | None, threshold: float | None
) -> None:
    caller = Caller(key_id="k", plan=PLAN, powerful_share=key_share)
    found = policy.policy(caller, chat(lumni=lumni))

    assert share == (found.powerful_share if found.HasField("powerful_share") else None)
    assert threshold == (found.threshold if found.HasField("threshold") else None)


def test_the_request_wishes_within_what_plan_and_key_permit() -> None:
    caller = Caller(key_id="k", plan=Plan("open", at_limit=AtLimit.FREE), models=("small",))
    found = policy.policy(
        caller, chat(lumni={"strategy": "quality", "max_cost_usd": 0.5, "task_type": "powerful"})
    )

    assert (["small"], True) == (list(found.allowed_models), found.free_tail)
    assert ("quality", 500_000_000) == (found.strategy, found.max_cost_nano_usd)
    assert classifier_pb2.TIER_POWERFUL == found.tier


def test_weights_and_a_time_count_only_as_what_if() -> None:
    wishes = chat(lumni={"weights": {"cost": 1}, "at": 1_700_000_000})
    caller = Caller(key_id="k", plan=PLAN)

    asked, executed = policy.policy(caller, wishes, what_if=True), policy.policy(caller, wishes)
    assert ({"cost": 1.0}, 1_700_000_000_000) == (dict(asked.weights), asked.now_unix_ms)
    assert ({}, 0) == (dict(executed.weights), executed.now_unix_ms)


@pytest.mark.parametrize(("fields", "bound"), [({}, 100), ({"max_completion_tokens": 7}, 7)])
def test_an_answer_without_a_limit_gets_the_plans(fields: dict[str, Any], bound: int) -> None:
    caller = Caller(key_id="k", plan=PLAN)

    assert bound == chat(**fields).output_bound(PLAN.max_output_tokens)
    assert bound == policy.requirements(caller, chat(**fields)).output_tokens


def test_the_selector_gets_no_features() -> None:
    judged = classifier_pb2.Classification(version="v1", features=[1.0])
    request = policy.select_request(
        Caller(key_id="k", plan=PLAN), chat(), chat_pb2.RequestContext(request_id="r1"), judged
    )

    assert ("v1", []) == (request.classification.version, list(request.classification.features))
    assert [1.0] == list(judged.features)


@pytest.mark.parametrize(
    ("fields", "several", "probabilities"),
    [
        ({}, False, False),
        ({"n": 1, "logprobs": False}, False, False),
        ({"n": 2}, True, False),
        ({"logprobs": True}, False, True),
    ],
)
def test_parameters_that_change_an_answer_are_required_of_a_model(
    fields: dict[str, Any], several: bool, probabilities: bool
) -> None:
    needed = policy.requirements(Caller(key_id="k", plan=PLAN), chat(**fields))

    assert (several, probabilities) == (needed.several_choices, needed.logprobs)


def test_a_caller_with_a_budget_reaches_only_what_has_a_price() -> None:
    without = Caller(key_id="k", plan=PLAN, subjects=(Subject("key:k"),))
    limited = Caller(
        key_id="k", plan=PLAN, subjects=(Subject("key:k"), Subject("user:u", budget=Budget(5, Period.DAY)))
    )

    assert not policy.policy(without, chat()).priced_only
    assert policy.policy(limited, chat()).priced_only


@pytest.mark.parametrize(
    ("key_share", "lumni", "of_plan"),
    [
        (None, {}, (True, True)),
        (0.1, {"strategy": "quality"}, (False, False)),
        (None, {"threshold": 0.7}, (True, False)),
    ],
)
def test_what_is_kept_for_replays_says_what_the_plan_decided(
    key_share: float | None, lumni: dict[str, Any], of_plan: tuple[bool, bool]
) -> None:
    caller = Caller(key_id="k", plan=PLAN, powerful_share=key_share)
    classification = classifier_pb2.Classification(long_context=True, features=[1.0])
    request = chat(lumni=lumni)
    wanted = policy.select_request(caller, request, chat_pb2.RequestContext(user_id="u"), classification)
    selection = selector_pb2.Selection(
        candidates=[selector_pb2.Candidate(deployment="d", price_id=7, quality=0.5)],
        circumstances=selector_pb2.Circumstances(selected_unix_s=3),
    )

    kept = policy.asked(request, caller, wanted, selection)

    assert of_plan == (kept.strategy_of_plan, kept.split_of_plan)
    assert (wanted.requirements, wanted.policy) == (kept.requirements, kept.policy)
    assert ([7], [0.5], 3, True) == (
        list(kept.price_ids),
        list(kept.qualities),
        kept.circumstances.selected_unix_s,
        kept.long_context,
    )
    assert not selection.HasField("circumstances")


@pytest.mark.parametrize("share", [None, 0.0, 0.05])
def test_a_plans_share_of_requests_that_may_explore_is_the_selectors_to_keep(share: float | None) -> None:
    caller = Caller(key_id="k", plan=replace(PLAN, exploration_share=share))
    found = policy.policy(caller, chat())

    assert share == (found.exploration_share if found.HasField("exploration_share") else None)
