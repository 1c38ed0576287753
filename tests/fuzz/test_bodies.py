"""Whatever a body holds, it is understood or refused by its field; and what is understood can be translated."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Invalid
from services.chassis.operations import Operation
from services.executor.bridges.calling import BRIDGES
from services.executor.engines.outcomes import Failed
from services.gateway.requests import transcription_request, upload
from services.gateway.requests.model_request import ModelRequest
from tests.api_fields import PARSERS
from tests.executor.fleet import deployment
from tests.fuzz import forms
from tests.fuzz.bodies import JSON
from tests.fuzz.near_bodies import GOOD, near

CHATS = deployment("http://127.0.0.1:1", "hosted_vllm", capabilities=frozenset({"reasoning"}))


def understood(operation: Operation, body: Any) -> ModelRequest | None:
    """What a body asks; None where it is refused, which names the field or the body."""
    try:
        request = PARSERS[operation](orjson.dumps(body))
        if operation in BRIDGES:
            orjson.dumps(BRIDGES[operation](request.body, CHATS).body)
    except (Invalid, Failed) as error:
        refusal = error
    else:
        return request
    assert refusal.param or "body" in refusal.message
    return None


@pytest.mark.parametrize("operation", GOOD)
def test_the_good_bodies_are_good(operation: Operation) -> None:
    assert understood(operation, GOOD[operation])


@pytest.mark.parametrize("operation", GOOD)
@given(st.data())
def test_an_odd_value_anywhere_is_refused_by_its_field_or_translated(
    operation: Operation, data: st.DataObject
) -> None:
    understood(operation, data.draw(near(operation)))


@pytest.mark.parametrize("operation", sorted(GOOD.keys() - {Operation.AUDIO_TRANSCRIPTION}))
@given(JSON)
def test_whatever_is_sent_is_refused_by_its_field(operation: Operation, body: Any) -> None:
    understood(operation, body)


@given(st.one_of(forms.near_forms(), forms.any_forms(), st.binary(max_size=200)))
def test_whatever_form_is_sent_is_refused_by_its_field(body: bytes) -> None:
    try:
        request = transcription_request.parse(*upload.read(body, forms.CONTENT_TYPE, len(body) + 1))
    except Invalid as error:
        refusal = error
    else:
        assert request.upload
        return
    assert refusal.param or "body" in refusal.message or "form" in refusal.message
