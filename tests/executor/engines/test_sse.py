"""Server-sent events, whatever the pieces they come in."""

import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.engines import sse
from services.executor.engines.sse import EventReader


def events(*parts: bytes) -> list[bytes]:
    reader = EventReader()
    return [*(event for part in parts for event in reader.read(part)), *reader.end()]


@pytest.mark.parametrize(
    "stream",
    [
        [b"data: one\n\ndata: two\n\n"],
        [b"data: one\r\n\r\ndata:two\r\n\r\n"],
        [b"da", b"ta: o", b"ne\n", b"\nevent: x\nid: 4\n: comment\ndata: two\n\n"],
        [bytes([byte]) for byte in b"data: one\r\n\r\n: ping\n\ndata: two"],
    ],
)
def test_events_are_read_whatever_the_pieces(stream: list[bytes]) -> None:
    assert events(*stream) == [b"one", b"two"]


@given(
    st.lists(
        st.lists(
            st.sampled_from([b"data: ", b"data:", b"data", b"x", b"\n", b"\n\n", b"\r\n", b"\r", b": "])
        ).map(b"".join)
    )
)
def test_a_part_that_is_a_whole_event_is_read_as_its_bytes_one_by_one_are(parts: list[bytes]) -> None:
    assert events(*parts) == events(*(bytes([byte]) for byte in b"".join(parts)))


def test_the_lines_of_one_event_belong_together() -> None:
    assert events(b"data: a\ndata: b\n\n") == [b"a\nb"]


def test_an_event_without_an_end_is_refused_however_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST", 1000)
    for part in (b"x", b"\r", b"data: x\n", b"data:\n", b"x" * 1001):
        with pytest.raises(ValueError, match="no end"):
            events(*[part] * 1002)


def test_an_event_of_many_small_pieces_takes_time_in_proportion_to_its_length() -> None:
    def seconds(pieces: int) -> float:
        began = time.thread_time()
        assert events(b"data:", *[b"x" * 512] * pieces, b"\n\n")
        return time.thread_time() - began

    # Copying all that has come for each piece would take four times as long for twice as many.
    assert statistics.median([seconds(16_000) / seconds(8_000) for _ in range(3)]) < 3.5
