"""The OpenAPI document describes the dispatcher's routes as they are."""

import re
from typing import Any, cast, get_type_hints

import httpx
import pytest
from fastapi.openapi.models import OpenAPI
from openai.types import (
    EmbeddingCreateParams,
    ModerationCreateParams,
    completion_create_params,
    image_generate_params,
)
from openai.types.audio import speech_create_params, transcription_create_params
from openai.types.chat import completion_create_params as chat_completion_create_params

from services.chassis.deployments import Fleet
from services.gateway.config.live import Live
from services.gateway.keys.authenticator import Authenticator
from services.gateway.peers.clients import Selector
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.prompts.expander import RequestExpander
from services.gateway.requests import chat_request, decision_text, fields, hints, messages_request
from services.gateway.rest import (
    application,
    client_dialects,
    inference,
    messages,
    model_calls,
    not_served,
    prompt_calls,
    responses,
    simple,
)


@pytest.fixture
async def document() -> dict[str, Any]:
    transport = httpx.ASGITransport(application.create([]))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPI.model_validate(document)
    text = repr(document)
    for kind, name in re.findall(r"#/components/(\w+)/(\w+)", text):
        assert name in document["components"][kind]


def test_every_route_of_the_dispatcher_is_described_and_no_other(document: dict[str, Any]) -> None:
    nobody = object()
    pipeline, prompts = cast("Pipeline", nobody), cast("RequestExpander", nobody)
    routes = [
        *model_calls.routes(pipeline, prompts),
        *prompt_calls.routes(pipeline, prompts),
        *messages.routes(pipeline),
        *responses.routes(pipeline, prompts, None),
        *simple.routes(pipeline),
        *inference.routes(
            cast("Authenticator", nobody),
            pipeline,
            prompts,
            cast("Selector", nobody),
            Live(cast("Fleet", nobody)),
        ),
    ]
    served = {(route.method.lower(), route.path.replace(":path", "")) for route in routes}

    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert served == described


def test_it_says_by_which_headers_keys_come_and_what_is_not_served(document: dict[str, Any]) -> None:
    said = document["info"]["description"]

    for name in (*(header.decode() for header in client_dialects.KEY_HEADERS), *not_served.WHY):
        assert f"`{name}`" in said


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        ("ChatCompletionRequest", chat_completion_create_params.CompletionCreateParamsBase),
        ("CompletionRequest", completion_create_params.CompletionCreateParamsBase),
        ("EmbeddingRequest", EmbeddingCreateParams),
        ("ModerationRequest", ModerationCreateParams),
        ("ImageRequest", image_generate_params.ImageGenerateParamsBase),
        ("SpeechRequest", speech_create_params.SpeechCreateParams),
        ("TranscriptionRequest", transcription_create_params.TranscriptionCreateParamsBase),
    ],
)
def test_every_field_that_openai_documents_is_described(
    document: dict[str, Any], schema: str, fields: type
) -> None:
    described = document["components"]["schemas"][schema]["properties"]

    assert get_type_hints(fields).keys() - described.keys() == set()


def test_bounds_and_words_are_those_that_are_checked(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    described = schemas["ChatCompletionRequest"]["properties"]

    assert fields.MAX_FIELDS == schemas["ChatCompletionRequest"]["maxProperties"]
    assert chat_request.MAX_MESSAGES == described["messages"]["maxItems"]
    assert fields.MAX_CHOICES == described["n"]["maximum"]
    assert fields.MAX_TOOLS == described["tools"]["maxItems"]
    assert set(decision_text.ROLES) == set(schemas["Message"]["properties"]["role"]["enum"])
    assert set(chat_request.PARTS) == set(schemas["Part"]["properties"]["type"]["enum"])
    assert set(hints.HINTS) == set(schemas["Hints"]["properties"])
    blocks = schemas["Blocks"]["anyOf"][1]["items"]["properties"]["type"]["enum"]
    assert list(messages_request.BLOCKS) == blocks
