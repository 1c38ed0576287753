"""Fields of keys over gRPC that no store could take."""

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
