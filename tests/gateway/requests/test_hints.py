"""What the `lumni` object of a request may say, and what becomes of it."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.chassis.operations import Operation
from services.gateway.config.plans import Plan
from services.gateway.keys.permissions import Caller
from services.gateway.pipeline.policy import policy
from services.gateway.requests import hints
from services.gateway.requests.hints import HINTS, Hints
from services.gateway.requests.model_request import ModelRequest

CALLER = Caller(key_id="k", plan=Plan("open"))
TEXTS = st.text(max_size=200)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("own", "param", "says"),
    [
        (7, "lumni", "an object"),
        ({"max_cost_usd": 1e300}, "lumni.max_cost_usd", "from 0 to 1000000"),
        ({"at": 1e30}, "lumni.at", "seconds since 1970"),
        ({"denied_providers": ["x" * 10_000_000]}, "lumni.denied_providers", "short texts"),
        ({"denied_regions": ["eu"] * 65}, "lumni.denied_regions", "at most 64"),
        ({"strategy": []}, "lumni.strategy", "balanced"),
        ({"colour": "blue"}, "lumni.colour", "task_type, strategy"),
        ({"strategy": "luck"}, "lumni.strategy", "balanced"),
        ({"weights": {"cost": "high"}}, "lumni.weights", "an object of numbers"),
        ({"max_cost_usd": -1}, "lumni.max_cost_usd", "from 0 to"),
        ({"task_type": "slow"}, "lumni.task_type", "fast, powerful, auto"),
    ],
)
def test_a_mistake_is_named_with_its_field_and_its_mending(own: object, param: str, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        hints.parse(own)

    assert caught.value.param == param
    assert says in caught.value.message


def test_no_object_is_no_wish() -> None:
    assert Hints() == hints.parse(None) == hints.parse({})


@given(st.dictionaries(st.sampled_from(sorted(HINTS)), JSON, max_size=3))
def test_any_hint_fits_into_a_policy_or_is_refused_by_name(own: dict[str, Any]) -> None:
    with contextlib.suppress(Invalid):
        chat = ModelRequest(Operation.CHAT, body={}, model="auto", hints=hints.parse(own))
        assert policy(CALLER, chat, what_if=True).max_cost_nano_usd >= 0
