"""Fields of keys over gRPC that no store could take."""

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from lumni.gateway.v1 import keys_pb2 as pb

from services.chassis.errors import Invalid
from services.gateway.rest import key_schemas
from services.gateway.rpc.key_servicer import _fields


@pytest.mark.parametrize("seconds", [-(2**63), 2**63 - 1, 253402300800])
def test_a_moment_beyond_the_calendar_is_refused_by_its_field(seconds: int) -> None:
    with pytest.raises(Invalid, match=r"^expires_at: expected a moment") as caught:
        _fields(pb.KeySettings(expires_at=Timestamp(seconds=seconds)))

    assert "expires_at" == caught.value.param


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800"])
def test_metadata_that_no_json_column_takes_is_refused_by_its_field(value: object) -> None:
    with pytest.raises(Invalid, match=r"^metadata: .*cannot be stored") as caught:
        key_schemas.checked({"metadata": {"a": value}})

    assert "metadata" == caught.value.param


# The store would read the first and the last of them back as infinities.
@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59.99999Z",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-05:00",
    ],
)
def test_an_expiry_that_the_store_could_not_give_back_is_refused_by_its_field(moment: str) -> None:
    with pytest.raises(Invalid, match=r"^expires_at: .*(greater|less) than") as caught:
        key_schemas.checked({"expires_at": moment})

    assert "expires_at" == caught.value.param


def test_an_expiry_in_the_last_second_of_the_calendar_is_kept() -> None:
    assert (
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        == key_schemas.checked({"expires_at": "9999-12-31T23:59:59Z"})["expires_at"]
    )
