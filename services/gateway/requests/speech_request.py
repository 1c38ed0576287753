"""OpenAI's speech: a text to be spoken, by a model that the caller names."""

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.operations import Operation
from services.chassis.unit_prices import Units
from services.gateway.requests import fields, hints, prompt_size
from services.gateway.requests.model_request import ModelRequest

# The longest text that any provider speaks at once, in characters; OpenAI's limit is 4096.
MAX_INPUT = 40_000
STREAM_FORMATS = ("audio", "sse")
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
# An upper bound of what is billed for the sound where it is not billed by the character: a digit of a long number takes
# some 0.5 s to say, and a second is 20 tokens at OpenAI and 25 at Google.
MS_PER_CHARACTER, TOKENS_PER_SECOND = 600, 32
NOT_PROMPT = frozenset(("input", "model", "voice", "response_format", "stream_format"))


def parse(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate the body of a request for speech.

    Args:
        text: JSON.
        allowed: What the caller's plan allows beside function tools.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = fields.read(text)
    own = body.pop("lumni", None)
    hosted_tools.check(body, operation=Operation.AUDIO_SPEECH, allowed=allowed)
    model = fields.named_model(body, "a speech model")
    given = fields.typed(body, "input", str, "a text")
    if not given or len(given) > MAX_INPUT:
        raise Invalid(f"input: expected a text of 1 to {MAX_INPUT} characters", param="input")
    if not isinstance(voice := body.get("voice"), str | dict) or not voice:
        raise Invalid("voice: expected the name of a voice, or an object with its id", param="voice")
    fields.one_of(body, "response_format", FORMATS)
    fields.one_of(body, "stream_format", STREAM_FORMATS)
    fields.typed(body, "instructions", str, "a text")
    fields.check_number(body, "speed", 0.25, 4)
    # What is spoken fast is shorter, but nothing says that a model heeds it.
    longest_ms = round(len(given) * MS_PER_CHARACTER / min(1, body.get("speed") or 1))
    bound, likely = prompt_size.of_text(given)
    extra, likely_extra = prompt_size.of_fields(body, NOT_PROMPT)
    return ModelRequest(
        operation=Operation.AUDIO_SPEECH,
        body=body,
        model=model,
        stream=body.get("stream_format") == "sse",
        output_tokens=longest_ms * TOKENS_PER_SECOND // 1000 + 1,
        units=Units(characters=len(given), audio_ms=longest_ms),
        prompt_tokens=bound + extra,
        likely_prompt_tokens=max(1, likely) + likely_extra,
        hints=hints.parse(own),
    )
