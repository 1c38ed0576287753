"""docs/api.md says what becomes of each field of an answer, and names every field that the official clients know."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

import anthropic.types
import openai.types
import pytest
from openai.types import audio, chat, responses
from pydantic import BaseModel

from services.chassis.operations import Operation
from tests import api_fields, response_fields
from tests import provider_answers as answers
from tests.executor.conftest import LITELLM_WARNS
from tests.provider_answers import Answer

pytestmark = [pytest.mark.filterwarnings(each) for each in LITELLM_WARNS]
# Errors have a form of their own; and what only comes of tools that a provider runs, for which no request may ask.
ELSEWHERE = {"error"}
HOSTED = frozenset(
    """
    additional_tools apply_patch_call apply_patch_call_output code_interpreter_call compaction computer_call
    computer_call_output custom_tool_call_output file_search_call function_call_output image_generation_call
    local_shell_call local_shell_call_output mcp_approval_request mcp_approval_response mcp_call mcp_list_tools
    program program_output shell_call shell_call_output tool_search_call tool_search_output web_search_call
    bash_code_execution_tool_result code_execution_tool_result container_upload
    text_editor_code_execution_tool_result tool_search_tool_result web_fetch_tool_result
    """.split()
)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The objects that a type allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models(inner)


def names(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The fields of a type, as `response_fields` names those of an answer."""
    for field, about in model.model_fields.items():
        name = about.alias or field
        inner = [*models(about.annotation)] if name in response_fields.OPEN else []
        for each in inner:
            kind = kind_of(each) if is_list(about.annotation) else None
            if kind in HOSTED:
                continue
            at = f"{path}{name}" if kind is None else f"{path}{name}[{kind}]"
            if kind in response_fields.CLOSED:
                yield at
            else:
                yield from names(each, f"{at}.")
        if not inner and name not in response_fields.KINDS:
            yield f"{path}{name}"


def kind_of(model: type[BaseModel]) -> str:
    """What items of a type say that they are."""
    about = model.model_fields.get("type")
    return str(get_args(about.annotation)[0]) if about and get_origin(about.annotation) is Literal else ""


def is_list(annotation: Any) -> bool:
    """Whether a type is of lists, or of none."""
    return get_origin(annotation) is list or any(get_origin(one) is list for one in get_args(annotation))


async def test_the_tables_are_what_callers_get() -> None:
    document = api_fields.DOCUMENT.read_text()
    made = await response_fields.tables()

    assert document == api_fields.written(document, made, response_fields.BEGIN, response_fields.END), (
        "python -m tests.response_fields"
    )


@pytest.mark.parametrize(
    ("operation", "known", "given"),
    [
        (Operation.CHAT, [chat.ChatCompletion], answers.CHAT),
        (Operation.COMPLETIONS, [openai.types.Completion], answers.COMPLETION),
        (Operation.EMBEDDINGS, [openai.types.CreateEmbeddingResponse], answers.EMBEDDINGS),
        (Operation.RESPONSES, [responses.Response], answers.RESPONSE),
        (Operation.MESSAGES, [anthropic.types.Message], answers.MESSAGE),
        (Operation.MODERATIONS, [openai.types.ModerationCreateResponse], answers.MODERATION),
        (Operation.IMAGE_GENERATION, [openai.types.ImagesResponse], answers.IMAGES),
        (
            Operation.AUDIO_TRANSCRIPTION,
            [audio.Transcription, audio.TranscriptionVerbose],
            answers.TRANSCRIPTION,
        ),
    ],
)
def test_the_tables_name_every_field_that_official_clients_know(
    operation: Operation, known: Sequence[type[BaseModel]], given: Sequence[Answer]
) -> None:
    said = {name for answer in given for name in response_fields.told(answer)}

    assert set() == {name for model in known for name in names(model)} - said - ELSEWHERE
    assert given == response_fields.COLUMNS[operation][response_fields.OWN[operation]][-1]
