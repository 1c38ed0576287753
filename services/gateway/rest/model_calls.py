"""The routes that call a model: read what is asked, answer it whole or in chunks."""

from collections.abc import Callable
from dataclasses import replace

from services.chassis import errors
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.requests import chat_request, completions_request, embeddings_request
from services.gateway.requests.hints import TASK_TYPES
from services.gateway.requests.model_request import ModelRequest
from services.gateway.rest.dispatcher import Handler, Route
from services.gateway.rest.exchange import Exchange


def routes(pipeline: Pipeline) -> list[Route]:
    """The operations below /v1 whose answers travel as they are."""

    def calling(parse: Callable[[bytes], ModelRequest]) -> Handler:
        async def call(exchange: Exchange) -> None:
            await answer(exchange, pipeline, hinted(exchange, parse(await exchange.body())))

        return call

    return [
        Route("POST", "/v1/chat/completions", calling(chat_request.parse)),
        Route("POST", "/v1/completions", calling(completions_request.parse)),
        Route("POST", "/v1/embeddings", calling(embeddings_request.parse)),
    ]


def hinted(exchange: Exchange, request: ModelRequest) -> ModelRequest:
    """The request with what its headers wish.

    Raises:
        Invalid: a header says what it cannot say.
    """
    hint = exchange.header(b"x-lumni-task-type")
    if not hint:
        return request
    if hint not in TASK_TYPES:
        raise errors.Invalid(f"x-lumni-task-type: expected one of {', '.join(TASK_TYPES)}")
    return replace(request, hints=replace(request.hints, task_type=hint))


async def answer(exchange: Exchange, pipeline: Pipeline, request: ModelRequest) -> None:
    """Answer a request as it wishes: whole, or in chunks."""
    if request.stream:
        stream = await exchange.unless_caller_leaves(pipeline.stream(exchange.caller, request))
        await exchange.stream(stream.chunks, stream.headers)
    else:
        whole = await exchange.unless_caller_leaves(pipeline.complete(exchange.caller, request))
        await exchange.answer(whole.body.encode(), whole.headers)
