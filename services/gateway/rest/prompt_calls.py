"""Stored prompts in Portkey's shapes: rendered, or rendered and answered."""

import orjson

from services.chassis import offload
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.prompts import expander
from services.gateway.prompts.expander import RequestExpander
from services.gateway.requests.model_request import ModelRequest
from services.gateway.rest import model_calls
from services.gateway.rest.dispatcher import Route
from services.gateway.rest.exchange import Exchange


def routes(pipeline: Pipeline, prompts: RequestExpander) -> list[Route]:
    """The routes below /v1/prompts."""

    async def read(exchange: Exchange, used: RequestExpander) -> ModelRequest:
        body = await exchange.body()
        named = await offload.run(len(body), lambda: expander.named(exchange.parameters["prompt_id"], body))
        return model_calls.hinted(exchange, await used.chat(exchange.caller, named))

    async def render(exchange: Exchange) -> None:
        request = await read(exchange, prompts.unmeasured())
        async with pipeline.without_model(exchange.caller):
            # What an OpenAI client takes as its arguments.
            data = {"model": request.model, **request.body}
            if not request.stream:
                del data["stream"]
        shown = {"success": True, "data": data, "lumni": {"prompt": request.prompt}}
        await exchange.answer(await offload.run(request.size, lambda: orjson.dumps(shown)))

    async def complete(exchange: Exchange) -> None:
        await model_calls.answer(exchange, pipeline, await read(exchange, prompts))

    return [
        Route("POST", "/v1/prompts/{prompt_id}/render", render),
        Route("POST", "/v1/prompts/{prompt_id}/completions", complete),
    ]
