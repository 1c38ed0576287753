"""The routes that call a model: read what is asked, answer it whole or in chunks."""

from dataclasses import replace
from typing import Protocol

from services.chassis import errors, json_bounds, offload
from services.chassis.hosted_tools import Allowed
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.prompts.expander import RequestExpander
from services.gateway.requests import (
    cache_control,
    completions_request,
    embeddings_request,
    images_request,
    moderations_request,
    speech_request,
    transcription_request,
)
from services.gateway.requests.hints import TASK_TYPES
from services.gateway.requests.model_request import ModelRequest
from services.gateway.rest.api_format import OPENAI_MEDIA
from services.gateway.rest.dispatcher import Handler, Route
from services.gateway.rest.exchange import Exchange


class Parse(Protocol):
    """Reads the body of an operation, which may ask for what the caller's plan allows."""

    def __call__(self, text: bytes, *, allowed: Allowed) -> ModelRequest: ...  # noqa: D102


def routes(pipeline: Pipeline, prompts: RequestExpander) -> list[Route]:
    """The operations below /v1 whose answers travel as they are."""

    def calling(parse: Parse, most_values: int = json_bounds.MAX_VALUES) -> Handler:
        async def call(exchange: Exchange) -> None:
            await answer(exchange, pipeline, await read(exchange, parse, most_values))

        return call

    async def transcribe(exchange: Exchange) -> None:
        form, files = await exchange.fields_and_files()
        size = sum(len(one.content) for one in files.values())
        request = await offload.run(size, lambda: transcription_request.parse(form, files))
        await answer(exchange, pipeline, hinted(exchange, request))

    async def chat(exchange: Exchange) -> None:
        await answer(exchange, pipeline, await read_chat(exchange, prompts))

    return [
        Route("POST", "/v1/chat/completions", chat),
        Route("POST", "/v1/completions", calling(completions_request.parse)),
        Route("POST", "/v1/embeddings", calling(embeddings_request.parse, json_bounds.MAX_NUMBERS)),
        Route("POST", "/v1/moderations", calling(moderations_request.parse)),
        Route("POST", "/v1/images/generations", calling(images_request.parse), OPENAI_MEDIA),
        Route("POST", "/v1/audio/speech", calling(speech_request.parse), OPENAI_MEDIA),
        Route("POST", "/v1/audio/transcriptions", transcribe),
    ]


async def read(exchange: Exchange, parse: Parse, most_values: int = json_bounds.MAX_VALUES) -> ModelRequest:
    """What a request asks for, in its body, which holds at most so many values, and in its headers.

    Raises:
        Invalid: the body, or a header, says what it cannot say.
        TooLarge: the body is longer than 16 MiB.
        CallerLeft: the caller left while sending it, or was too slow.
    """
    body = await exchange.body(most_values)
    allowed = exchange.caller.plan.allowed
    request = await offload.run(len(body), lambda: parse(body, allowed=allowed))
    return hinted(exchange, request)


async def read_chat(exchange: Exchange, prompts: RequestExpander) -> ModelRequest:
    """The chat completion that a request asks for, perhaps of a stored prompt.

    Raises:
        Invalid, TooLarge, CallerLeft: as `read`.
        NotFound: the caller may use no such prompt.
    """
    return hinted(exchange, await prompts.chat(exchange.caller, await exchange.body()))


def hinted(exchange: Exchange, request: ModelRequest) -> ModelRequest:
    """The request with what its headers wish.

    Raises:
        Invalid: a header says what it cannot say.
    """
    request = request.with_size(exchange.attempt.size)
    cache_headers = (
        exchange.header(b"cache-control"),
        exchange.header(b"x-portkey-cache-force-refresh"),
    )
    if any(cache_headers):
        request = replace(request, cache=cache_control.with_headers(request.cache, *cache_headers))
    hint = exchange.header(b"x-lumni-task-type")
    if not hint:
        return request
    if hint not in TASK_TYPES:
        raise errors.Invalid(f"x-lumni-task-type: expected one of {', '.join(TASK_TYPES)}")
    return replace(request, hints=replace(request.hints, task_type=hint))


async def answer(exchange: Exchange, pipeline: Pipeline, request: ModelRequest) -> None:
    """Answer a request as it wishes: whole, or in chunks."""
    if request.stream:
        await exchange.stream_of(pipeline.stream(exchange.caller, request))
    else:
        whole = await exchange.unless_caller_leaves(pipeline.complete(exchange.caller, request))
        if whole.content_type:
            await exchange.content(whole.content, whole.content_type, whole.headers)
        else:
            await exchange.answer(whole.body.encode(), whole.headers)
