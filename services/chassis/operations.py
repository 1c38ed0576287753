"""The kinds of calls that a model can take, and which of LiteLLM's modes take which."""

from collections.abc import Mapping
from enum import StrEnum


class Operation(StrEnum):
    """The kind of a call; each has a format of its own."""

    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"
    IMAGE_GENERATION = "image_generation"
    AUDIO_SPEECH = "audio_speech"
    AUDIO_TRANSCRIPTION = "audio_transcription"


# What may be billed by another unit than tokens.
BY_UNIT = (Operation.IMAGE_GENERATION, Operation.AUDIO_SPEECH, Operation.AUDIO_TRANSCRIPTION)
# LiteLLM's modes of the models that can take an operation.
MODES: Mapping[str, frozenset[str]] = {
    Operation.CHAT: frozenset({"chat", "responses"}),
    Operation.RESPONSES: frozenset({"chat", "responses"}),
    Operation.MESSAGES: frozenset({"chat", "responses"}),
    Operation.COMPLETIONS: frozenset({"chat", "completion"}),
    Operation.EMBEDDINGS: frozenset({"embedding"}),
    Operation.MODERATIONS: frozenset({"moderation"}),
    Operation.IMAGE_GENERATION: frozenset({"image_generation"}),
    Operation.AUDIO_SPEECH: frozenset({"audio_speech"}),
    Operation.AUDIO_TRANSCRIPTION: frozenset({"audio_transcription"}),
}
