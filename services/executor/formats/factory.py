"""The format of a call's answer, by its operation."""

from collections.abc import Mapping
from typing import Any

from services.chassis.operations import Operation
from services.executor.formats.base import ResponseFormat
from services.executor.formats.chat import ChatFormat
from services.executor.formats.embeddings import EmbeddingsFormat
from services.executor.formats.images import ImagesFormat
from services.executor.formats.messages import MessagesFormat
from services.executor.formats.moderations import ModerationsFormat
from services.executor.formats.responses import ResponsesFormat
from services.executor.formats.speech import SpeechFormat
from services.executor.formats.transcription import TranscriptionFormat


def response_format(
    operation: Operation, model: str, body: Mapping[str, Any], audio_ms: int = 0
) -> ResponseFormat:
    """The format of the answer to `body`, under the public name `model`; `audio_ms` as in `Call`."""
    match operation:
        case Operation.CHAT | Operation.COMPLETIONS:
            options = body.get("stream_options")
            include_usage = isinstance(options, Mapping) and bool(options.get("include_usage"))
            choices = body["n"] if isinstance(body.get("n"), int) else 1
            legacy = operation is Operation.COMPLETIONS
            return ChatFormat(model, include_usage=include_usage, choices=choices, legacy=legacy)
        case Operation.RESPONSES:
            return ResponsesFormat(model)
        case Operation.MESSAGES:
            return MessagesFormat(model)
        case Operation.EMBEDDINGS:
            return EmbeddingsFormat(model)
        case Operation.MODERATIONS:
            return ModerationsFormat(model)
        case Operation.IMAGE_GENERATION:
            return ImagesFormat(model, body)
        case Operation.AUDIO_SPEECH:
            return SpeechFormat(model, body)
        case Operation.AUDIO_TRANSCRIPTION:
            return TranscriptionFormat(model, audio_ms)
