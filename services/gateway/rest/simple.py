"""The simple routes: a prompt or messages in, a text and what it cost out."""

import orjson

from services.gateway.pipeline import simple_answer
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.requests import simple_request
from services.gateway.rest import model_calls
from services.gateway.rest.dispatcher import Handler, Route
from services.gateway.rest.exchange import Exchange
from services.gateway.rest.model_calls import Parse


def routes(pipeline: Pipeline) -> list[Route]:
    """The routes below /llm."""

    def answering(parse: Parse) -> Handler:
        async def answer(exchange: Exchange) -> None:
            request = await model_calls.read(exchange, parse)
            whole = await exchange.unless_caller_leaves(pipeline.complete(exchange.caller, request))
            short = simple_answer.of(whole)
            shown = {
                "text": short.text,
                "model": short.model,
                "usage": short.usage,
                # In US dollars, as the previous generation had it; `lumni.cost` has its parts.
                "cost": short.lumni["cost"]["usd"],
                "lumni": short.lumni,
            }
            await exchange.answer(orjson.dumps(shown), whole.headers)

        return answer

    return [
        Route("POST", "/llm/simple", answering(simple_request.of_prompt)),
        Route("POST", "/llm/chat", answering(simple_request.of_messages)),
    ]
