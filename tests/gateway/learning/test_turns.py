"""Conversations that are asked again, or go on, are found without their text."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.learning.turns import BITS, turns

SYSTEM, USER, ASSISTANT, TOOL = 1, 3, 4, 5


class Said(NamedTuple):
    role: int
    text: str


Q1, A1, Q2 = Said(USER, "How high is K2?"), Said(ASSISTANT, "8,611 m"), Said(USER, "In feet?")


def of(*messages: Said, caller: str = "key/ann/") -> tuple[int | None, int | None]:
    return turns(caller, messages, assistant=ASSISTANT, user=USER)


def test_the_same_conversation_again_has_the_same_number_and_another_callers_has_not() -> None:
    assert of(Q1) == of(Q1)
    assert of(Q1) != of(Q1, caller="key/bob/")
    assert of(Q1)[0] != of(Said(USER, "How high is K3?"))[0]


def test_a_conversation_that_goes_on_names_the_turn_before() -> None:
    assert of(Q1)[0] == of(Q1, A1, Q2)[1]
    assert of(Q1, A1, Q2)[0] == of(Q1, A1, Q2, A1, Q1)[1]
    assert of(Q1)[1] is None


def test_what_a_tool_answered_tells_nothing_of_the_user() -> None:
    assert of(Q1, A1, Said(TOOL, "28251"))[1] is None


def test_no_conversation_has_no_number() -> None:
    assert (None, None) == of()


@given(st.lists(st.builds(Said, st.sampled_from((SYSTEM, USER, ASSISTANT)), st.text(st.characters()))))
def test_no_more_than_16_bits_of_what_was_said_are_told(messages: list[Said]) -> None:
    for number in of(*messages):
        assert number is None or 0 <= number < 2**BITS
