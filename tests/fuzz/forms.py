"""Random forms with a file: good ones with something odd in one place, and any parts at all."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from hypothesis import strategies as st

from services.chassis.operations import Operation
from tests.fuzz.near_bodies import near
from tests.simulator.media import silence

CONTENT_TYPE = "multipart/form-data; boundary=between"
SOUND = silence("wav", 100)
_HEAD = b'content-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav'
_FILES = st.one_of(
    st.just([(_HEAD, SOUND)]),
    st.sampled_from([[], [(_HEAD, b"")], [(_HEAD, SOUND)] * 2, [(_HEAD.replace(b"file", b"other"), SOUND)]]),
    # A header of sound, and what it does not promise.
    st.builds(lambda kept, more: [(_HEAD, SOUND[:kept] + more)], st.integers(0, 60), st.binary(max_size=60)),
)


def near_forms() -> st.SearchStrategy[bytes]:
    """Forms that ask for a transcription, with one odd value or an odd file."""
    return st.builds(
        lambda fields, files: _written([*_parts(fields), *files]), near(Operation.AUDIO_TRANSCRIPTION), _FILES
    )


def any_forms() -> st.SearchStrategy[bytes]:
    """Forms of any parts."""
    part = st.tuples(st.one_of(st.binary(max_size=60), st.just(_HEAD)), st.binary(max_size=100))
    return st.lists(part, max_size=5).map(_written)


def _parts(fields: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in fields.items():
        several = isinstance(value, list)
        for one in value if several else [value]:
            text = one if isinstance(one, str) else orjson.dumps(one).decode()
            head = f'content-disposition: form-data; name="{name}{"[]" if several else ""}"'
            yield head.encode(), text.encode()


def _written(parts: list[tuple[bytes, bytes]]) -> bytes:
    written = (b"--between\r\n%b\r\n\r\n%b\r\n" % part for part in parts)
    return b"".join(written) + b"--between--\r\n"
