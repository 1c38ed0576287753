"""docs/api.md says what becomes of each field, and names every field that the official clients know."""

from typing import get_type_hints

import pytest
from anthropic.types import message_create_params
from openai.types import (
    EmbeddingCreateParams,
    ModerationCreateParams,
    completion_create_params,
    image_generate_params,
)
from openai.types.audio import SpeechCreateParams, transcription_create_params
from openai.types.chat import completion_create_params as chat_completion_create_params
from openai.types.responses import response_create_params

from services.chassis.operations import Operation
from tests import api_fields
from tests.executor.conftest import LITELLM_WARNS

pytestmark = [pytest.mark.filterwarnings(each) for each in LITELLM_WARNS]
# What Lumni takes itself, and what is said elsewhere on the page.
OWN = {"model", "stream", "stream_options", "store", "previous_response_id", "file"}
# A stored prompt, where it is no text to go on with.
STORED = {Operation.CHAT: {"prompt"}, Operation.RESPONSES: {"prompt"}}


async def test_the_tables_are_what_providers_get() -> None:
    document = api_fields.DOCUMENT.read_text()

    assert api_fields.written(document, await api_fields.tables()) == document, "python -m tests.api_fields"


@pytest.mark.parametrize(
    ("operation", "known"),
    [
        (Operation.CHAT, chat_completion_create_params.CompletionCreateParamsBase),
        (Operation.COMPLETIONS, completion_create_params.CompletionCreateParamsBase),
        (Operation.EMBEDDINGS, EmbeddingCreateParams),
        (Operation.RESPONSES, response_create_params.ResponseCreateParamsBase),
        (Operation.MESSAGES, message_create_params.MessageCreateParamsBase),
        (Operation.MODERATIONS, ModerationCreateParams),
        (Operation.IMAGE_GENERATION, image_generate_params.ImageGenerateParamsBase),
        (Operation.AUDIO_SPEECH, SpeechCreateParams),
        (Operation.AUDIO_TRANSCRIPTION, transcription_create_params.TranscriptionCreateParamsBase),
    ],
)
def test_the_tables_name_every_field_that_official_clients_know(operation: Operation, known: type) -> None:
    assert set() == get_type_hints(known).keys() - api_fields.FIELDS[operation].keys() - OWN - STORED.get(
        operation, set()
    )
