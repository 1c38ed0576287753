"""What requests for pictures, speech and transcriptions take, and how much of it is reserved."""

from typing import Any

import orjson
import pytest

from services.chassis.errors import Invalid, UnsupportedType
from services.chassis.operations import Operation
from services.chassis.unit_prices import Units
from services.gateway.requests import images_request, speech_request, transcription_request, upload
from services.gateway.requests.upload import Upload
from tests.simulator.media import silence

SOUND = Upload("sound.wav", "audio/wav", silence("wav", 2500))


def picture(**fields: Any) -> bytes:
    return orjson.dumps({"model": "dall-e", "prompt": "A boat", **fields})


def speech(**fields: Any) -> bytes:
    return orjson.dumps({"model": "tts", "input": "Good morning.", "voice": "alloy", **fields})


@pytest.mark.parametrize(
    ("size", "tokens"), [(None, 7315), ("auto", 7315), ("1024x1024", 5218), ("1536x1024", 7315)]
)
def test_pictures_are_reserved_by_number_quality_and_size(size: str | None, tokens: int) -> None:
    asked = images_request.parse(picture(n=3, size=size, quality="hd"))

    assert Units(images=3, image=f"hd/{size or ''}") == asked.units
    assert (3, tokens, tokens) == (asked.choices, asked.output_tokens, asked.output_bound(256))
    assert asked.body == asked.capped(256)


def test_a_streamed_picture_is_reserved_with_its_looks() -> None:
    asked = images_request.parse(picture(stream=True, partial_images=3, size="1024x1024"))

    assert (True, 5218 + 300) == (asked.stream, asked.output_tokens)


def test_speech_is_streamed_as_events_and_not_as_sound() -> None:
    assert speech_request.parse(speech(stream_format="sse")).stream
    assert not speech_request.parse(speech(stream_format="audio")).stream


def test_speech_is_reserved_by_its_characters_and_slow_speech_is_longer() -> None:
    plain, slow = speech_request.parse(speech()), speech_request.parse(speech(speed=0.25))

    assert (Units(characters=13, audio_ms=7800), 250) == (plain.units, plain.output_tokens)
    assert 4 * 7800 == slow.units.audio_ms


def test_a_transcription_is_reserved_by_the_length_of_its_file() -> None:
    form = {"model": "whisper", "temperature": "0.5", "stream": "false", "lumni": '{"max_cost_usd": 1}'}
    asked = transcription_request.parse(form, {"file": SOUND})

    assert (Operation.AUDIO_TRANSCRIPTION, 3000, 96) == (
        asked.operation,
        asked.units.audio_ms,
        asked.prompt_tokens,
    )
    assert {"model": "whisper", "temperature": 0.5} == asked.body
    assert 1 == asked.hints.max_cost_usd
    assert not asked.cacheable


@pytest.mark.parametrize(
    ("form", "files", "param"),
    [
        ({}, {"file": SOUND}, "model"),
        ({"model": "auto"}, {"file": SOUND}, "model"),
        ({"model": "whisper"}, {}, "file"),
        ({"model": "whisper"}, {"file": Upload("a.wav", "", b"")}, "file"),
        ({"model": "whisper"}, {"file": SOUND, "other": SOUND}, "file"),
        ({"model": "whisper", "stream": "true"}, {"file": SOUND}, "stream"),
        ({"model": "whisper", "temperature": "hot"}, {"file": SOUND}, "temperature"),
        ({"model": "whisper", "temperature": "nan"}, {"file": SOUND}, "temperature"),
        ({"model": "whisper", "response_format": "pdf"}, {"file": SOUND}, "response_format"),
        ({"model": "whisper", "include": "logprobs"}, {"file": SOUND}, "include"),
        ({"model": "whisper", "prompt": ["a"]}, {"file": SOUND}, "prompt"),
        ({"model": "whisper", "lumni": "{"}, {"file": SOUND}, "lumni"),
    ],
)
def test_a_mistake_in_a_form_names_its_field(
    form: dict[str, Any], files: dict[str, Upload], param: str
) -> None:
    with pytest.raises(Invalid) as refused:
        transcription_request.parse(form, files)

    assert param == refused.value.param


@pytest.mark.parametrize(
    ("parse", "text", "param"),
    [
        (images_request.parse, picture(model="auto"), "model"),
        (images_request.parse, picture(size="99999x99999"), "size"),
        (images_request.parse, picture(partial_images=2), "partial_images"),
        (images_request.parse, picture(partial_images=4, stream=True), "partial_images"),
        (images_request.parse, picture(n=2, stream=True), "n"),
        (images_request.parse, picture(stream="yes"), "stream"),
        (speech_request.parse, speech(stream_format="webm"), "stream_format"),
        (images_request.parse, picture(quality=1), "quality"),
        (images_request.parse, picture(response_format="png"), "response_format"),
        (speech_request.parse, speech(voice=None), "voice"),
        (speech_request.parse, speech(speed=5), "speed"),
        (speech_request.parse, speech(input="a" * 40_001), "input"),
        (speech_request.parse, speech(response_format="midi"), "response_format"),
    ],
)
def test_a_mistake_names_its_field(parse: Any, text: bytes, param: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text)

    assert param == refused.value.param


def form(*parts: tuple[str, bytes], end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--x\r\n%b\r\n\r\n%b\r\n" % (head.encode(), value) for head, value in parts) + end


def test_a_form_is_read_with_its_lists_and_files() -> None:
    body = form(
        ('Content-Disposition: form-data; name="model"', b"whisper"),
        ('Content-Disposition: form-data; name="include[]"', b"one"),
        ('Content-Disposition: form-data; name="include[]"', b"two"),
        (
            'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav',
            b"\r\n\x00--x",
        ),
    )
    fields, files = upload.read(body, "multipart/form-data; boundary=x", len(body) + 1)

    assert {"model": "whisper", "include": ["one", "two"]} == fields
    assert {"file": Upload("a.wav", "audio/wav", b"\r\n\x00--x")} == files


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=x"]
)
def test_what_says_that_it_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedType):
        upload.read(b"", content_type, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"nothing",
        form(('Content-Disposition: form-data; name="a"', b"\xff")),
        form(('Content-Disposition: form-data; name="a"', b"b" * (upload.LONGEST_FIELD + 1))),
        form(*[('Content-Disposition: form-data; name="a"', b"b")] * 300),
        form(("X: " + "y" * 9000, b"b")),
    ],
)
def test_a_form_that_cannot_be_read_or_holds_too_much_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        upload.read(body, "multipart/form-data; boundary=x", len(body) + 1)
