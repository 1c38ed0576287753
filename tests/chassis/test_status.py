"""Faults on the wire and back."""

import pytest
from lumni.executor.v1 import executor_pb2

from services.chassis import errors, status

FAULTS = (
    errors.Invalid,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.NotFound,
    errors.Conflict,
    errors.Exhausted,
    errors.Unavailable,
    errors.TimedOut,
    errors.Internal,
)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_survives_the_wire(kind: type[errors.Fault]) -> None:
    fault = kind("what is wrong", reason="BECAUSE", param="n", retry_after_s=2.5, metadata={"limit": "rpm"})

    back = status.from_status(status.to_status(fault))

    assert type(back) is kind
    assert ("what is wrong", "BECAUSE", "n", 2.5, {"limit": "rpm"}) == (
        back.message,
        back.reason,
        back.param,
        back.retry_after_s,
        back.metadata,
    )


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_survives_a_batch(kind: type[errors.Fault]) -> None:
    back = status.from_failure(
        status.to_failure(kind("wrong", reason="BECAUSE", param="n", retry_after_s=1.5))
    )

    assert (kind, "wrong", "BECAUSE", "n", 1.5) == (
        type(back),
        back.message,
        back.reason,
        back.param,
        back.retry_after_s,
    )


@pytest.mark.parametrize("kind", [*FAULTS, errors.TooLarge])
def test_openais_error_object_has_all_four_keys(kind: type[errors.Fault]) -> None:
    code, _, body = status.to_http(kind("wrong"))

    assert {"message", "type", "param", "code"} == body["error"].keys()
    assert 400 <= code < 600
    assert body["error"]["code"] == kind.reason.lower()


def test_retry_after_is_told_in_whole_seconds_and_in_milliseconds() -> None:
    _, headers, _ = status.to_http(errors.Exhausted("wait", retry_after_s=0.2))

    assert {"retry-after": "1", "retry-after-ms": "200"} == headers


def test_a_request_that_is_too_long_is_413() -> None:
    assert status.to_http(errors.TooLarge("too long"))[0] == 413


def test_a_detail_unpacks_for_a_client_however_many_services_passed_the_fault_on() -> None:
    report = executor_pb2.Report(cost_nano_usd=7)
    fault: errors.Fault = errors.Unavailable("every candidate failed", details=(report,))
    for _ in range(3):
        sent = status.to_status(fault)
        unpacked = executor_pb2.Report()

        assert [detail.Unpack(unpacked) for detail in sent.details].count(True) == 1
        assert unpacked == report
        fault = status.from_status(sent)


def test_a_message_that_repeats_a_long_text_fits_into_trailers() -> None:
    fault = errors.Exhausted("ü" * 5000, param="p" * 5000)

    sent = status.to_status(fault)
    failure = status.to_failure(fault)

    assert len(sent.SerializeToString()) < 5 * status.LONGEST
    assert sent.message.startswith("üü")
    assert sent.message.endswith("...")
    assert len(failure.SerializeToString()) < 3 * status.LONGEST
