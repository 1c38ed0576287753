"""Server-sent events, whatever the pieces they come in."""

from collections.abc import AsyncIterator

import pytest

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
