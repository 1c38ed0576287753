"""How long sound is, by its header and without one."""

import pytest

from services.chassis import audio
from tests.simulator.media import silence


@pytest.mark.parametrize("kind", ["wav", "mp3"])
def test_the_header_says_how_long_sound_is(kind: str) -> None:
    assert 2500 == pytest.approx(audio.duration_ms(silence(kind, 2500)), abs=30)


@pytest.mark.parametrize("content", [b"", b"no sound", b"RIFF", b"OggS" + bytes(50), b"fLaC" + bytes(50)])
def test_what_is_no_sound_has_no_length(content: bytes) -> None:
    assert audio.duration_ms(content) is None


def test_whole_seconds_are_reserved_and_what_cannot_be_read_by_its_size() -> None:
    assert 3000 == audio.bound_ms(silence("wav", 2500))
    assert 80_000 == audio.bound_ms(b"\x1aE\xdf\xa3" + bytes(60_000 - 4))
    assert 1000 == audio.bound_ms(b"x")
