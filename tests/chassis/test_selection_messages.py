"""The contract's messages as the values that the rules take."""

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import selection_messages
from services.chassis.candidates import OnlyOn
from services.chassis.eligibility import Policy, Requirements


def test_what_a_request_leaves_open_is_one_answer_to_a_chat() -> None:
    assert Requirements(operation="chat", choices=1) == selection_messages.requirements(
        selector_pb2.Requirements()
    )


def test_every_capability_of_the_contract_is_read() -> None:
    flags = ("vision", "audio", "file", "tools", "json_schema")
    for flag in flags:
        message = selector_pb2.Requirements(**{flag: True})  # type: ignore[arg-type]
        assert (flag,) == selection_messages.requirements(message).capabilities
    everything = selector_pb2.Requirements(**dict.fromkeys(flags, True))  # type: ignore[arg-type]
    assert flags == selection_messages.requirements(everything).capabilities


def test_a_policy_is_read_whole() -> None:
    given = {
        "allowed_models": ("a",),
        "access_groups": ("b",),
        "provider": "c",
        "denied_providers": ("d",),
        "denied_regions": ("e",),
        "max_cost_nano_usd": 6,
    }
    assert Policy(**given) == selection_messages.policy(selector_pb2.Policy(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize("cause", list(OnlyOn))
def test_a_cause_survives_the_wire(cause: OnlyOn) -> None:
    assert cause is selection_messages.only_on(selection_messages.ONLY_ON[cause])


def test_a_candidate_without_a_cause_may_be_tried_at_any_time() -> None:
    assert OnlyOn.ANY is selection_messages.only_on(chat_pb2.ONLY_ON_UNSPECIFIED)


def test_a_clock_or_weights_of_its_own_make_a_request_a_question_only() -> None:
    assert not selection_messages.what_if(selector_pb2.Policy(strategy="cost"))
    assert selection_messages.what_if(selector_pb2.Policy(now_unix_ms=1))
    assert selection_messages.what_if(selector_pb2.Policy(weights={"latency": 1.0}))
