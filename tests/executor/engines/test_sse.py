"""Server-sent events, whatever the pieces they come in."""

import statistics
import time
from collections.abc import AsyncIterator

import pytest

from services.executor.engines import sse
from services.executor.engines.sse import events


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


@pytest.mark.parametrize(
    "stream",
    [
        [b"data: one\n\ndata: two\n\n"],
        [b"data: one\r\n\r\ndata:two\r\n\r\n"],
        [b"da", b"ta: o", b"ne\n", b"\nevent: x\nid: 4\n: comment\ndata: two\n\n"],
        [bytes([byte]) for byte in b"data: one\r\n\r\n: ping\n\ndata: two"],
    ],
)
async def test_events_are_read_whatever_the_pieces(stream: list[bytes]) -> None:
    assert [event async for event in events(parts(*stream))] == [b"one", b"two"]


async def test_the_lines_of_one_event_belong_together() -> None:
    assert [event async for event in events(parts(b"data: a\ndata: b\n\n"))] == [b"a\nb"]


async def test_an_event_without_an_end_is_refused_however_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST", 1000)
    for part in (b"x", b"\r", b"data: x\n", b"data:\n", b"x" * 1001):
        with pytest.raises(ValueError, match="no end"):
            async for _ in events(parts(*[part] * 1002)):
                raise AssertionError("an event that never ended was yielded")


async def test_an_event_of_many_small_pieces_takes_time_in_proportion_to_its_length() -> None:
    async def seconds(pieces: int) -> float:
        began = time.thread_time()
        assert [event async for event in events(parts(b"data:", *[b"x" * 512] * pieces, b"\n\n"))]
        return time.thread_time() - began

    # Copying all that has come for each piece would take four times as long for twice as many.
    assert statistics.median([await seconds(16_000) / await seconds(8_000) for _ in range(3)]) < 3.5
