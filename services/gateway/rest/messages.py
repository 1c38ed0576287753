"""Anthropic's messages: the conversation answered, and its tokens counted."""

import orjson

from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.requests import messages_request
from services.gateway.rest import model_calls
from services.gateway.rest.anthropic_format import ANTHROPIC
from services.gateway.rest.dispatcher import Route
from services.gateway.rest.exchange import Exchange


def routes(pipeline: Pipeline) -> list[Route]:
    """The routes that Anthropic's clients know."""

    async def create(exchange: Exchange) -> None:
        request = await model_calls.read(exchange, messages_request.parse)
        await model_calls.answer(exchange, pipeline, request)

    async def count_tokens(exchange: Exchange) -> None:
        request = await model_calls.read(exchange, messages_request.parse)
        async with pipeline.without_model(exchange.caller):
            await exchange.answer(orjson.dumps({"input_tokens": request.likely_prompt_tokens}))

    return [
        Route("POST", "/v1/messages", create, ANTHROPIC),
        Route("POST", "/v1/messages/count_tokens", count_tokens, ANTHROPIC),
    ]
