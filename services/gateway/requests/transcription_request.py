"""OpenAI's transcriptions: a file of sound to be written down, by a model that the caller names."""

from typing import Any

import orjson

from services.chassis import audio, hosted_tools
from services.chassis.errors import Invalid
from services.chassis.operations import Operation
from services.chassis.unit_prices import Units
from services.gateway.requests import fields, hints, prompt_size
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.upload import Upload

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
# What a second of sound takes at most where it is billed by tokens: 32 at Google, 10 at OpenAI.
TOKENS_PER_SECOND = 32
_LISTS = tuple(
    "include timestamp_granularities known_speaker_names known_speaker_references keywords languages".split()
)
# Fields that hold what is no text, as JSON.
_JSON = ("chunking_strategy", "lumni")


def parse(form: dict[str, Any], files: dict[str, Upload]) -> ModelRequest:
    """Read and validate a form that asks for a transcription.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = {name: _value(name, value) for name, value in form.items()}
    own = body.pop("lumni", None)
    hosted_tools.check(body)
    model = fields.named_model(body, "a transcription model")
    if set(files) != {"file"} or not files["file"].content:
        raise Invalid("file: expected one file of sound that is not empty", param="file")
    if body.get("stream") not in (None, "false", "False", "0"):
        raise Invalid("stream: transcriptions are not streamed; leave it out", param="stream")
    body.pop("stream", None)
    if body.get("response_format", "json") not in FORMATS:
        raise Invalid(f"response_format: expected one of {', '.join(FORMATS)}", param="response_format")
    for name in _LISTS:
        fields.typed(body, name, list, f"a list, as fields named {name}[]")
    for name in ("language", "prompt"):
        fields.typed(body, name, str, "a text")
    fields.check_number(body, "temperature", 0, 1)
    length_ms = audio.bound_ms(files["file"].content)
    heard = length_ms // 1000 * TOKENS_PER_SECOND
    bound, likely = prompt_size.of_text(body.get("prompt") or "")
    return ModelRequest(
        operation=Operation.AUDIO_TRANSCRIPTION,
        body=body,
        model=model,
        upload=files["file"],
        units=Units(audio_ms=length_ms),
        prompt_tokens=heard + bound,
        likely_prompt_tokens=max(1, heard // 3 + likely),
        hints=hints.parse(own),
    )


def _value(name: str, value: Any) -> Any:
    """The value of a field, which a form spells as a text."""
    if not isinstance(value, str):
        return value
    if name == "temperature":
        try:
            return float(value)
        except ValueError:
            raise Invalid("temperature: expected a number from 0 to 1", param=name) from None
    if name in _JSON and value.startswith("{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise Invalid(f"{name}: expected JSON: {error}", param=name) from error
    return value
