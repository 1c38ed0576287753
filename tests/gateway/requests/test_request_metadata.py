"""What callers note about a request, within bounds."""

import json

import pytest

from services.chassis.errors import Invalid
from services.gateway.requests.request_metadata import parse


def test_a_trace_id_and_metadata_are_one_mapping_of_texts() -> None:
    metadata = (
        json.dumps({"user": "Zoë", "n": 1.5, "beta": True}, ensure_ascii=False).encode().decode("latin-1")
    )

    assert {"user": "Zoë", "n": "1.5", "beta": "true", "trace_id": "t"} == parse("t", metadata)
    assert {} == parse("", "")


@pytest.mark.parametrize(
    ("trace_id", "metadata", "says"),
    [
        ("", "nothing", "is no JSON"),
        ("", "[]", "expected a JSON object"),
        ("", '{"a": {}}', "x-portkey-metadata.a: expected a text"),
        ("", '{"a": null}', "x-portkey-metadata.a: expected a text"),
        ("", json.dumps({str(i): "" for i in range(18)}), "at most 17 names"),
        ("", json.dumps({"a": "x" * 513}), "at most 512"),
        ("", json.dumps({"x" * 65: ""}), "at most 64"),
        ("", json.dumps({"a": chr(0)}), "without NULs"),
        ("x" * 513, "", "at most 512"),
    ],
)
def test_what_cannot_be_recorded_is_refused(trace_id: str, metadata: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        parse(trace_id, metadata)

    assert "x-portkey-metadata" == caught.value.param
