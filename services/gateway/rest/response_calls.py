"""OpenAI's responses: answered whole, or as typed events."""

from dataclasses import replace

import orjson

from services.chassis import offload, telemetry
from services.chassis.errors import Invalid
from services.gateway.conversations import response_edit
from services.gateway.conversations.response_edit import ResponseEdit
from services.gateway.pipeline.pipeline import Pipeline, Stream
from services.gateway.requests import responses_request
from services.gateway.rest import model_calls
from services.gateway.rest.api_format import OPENAI, ApiFormat, event_of
from services.gateway.rest.dispatcher import Route
from services.gateway.rest.exchange import Exchange

# An error within a stream is one of its events already.
RESPONSES = ApiFormat(error=OPENAI.error, event=event_of, error_event=OPENAI.error_event, end=b"")


def routes(pipeline: Pipeline) -> list[Route]:
    """The routes of OpenAI's responses."""

    async def create(exchange: Exchange) -> None:
        body = await exchange.body()
        asked = await offload.run(len(body), lambda: responses_request.read(body))
        if asked.previous:
            raise Invalid(
                "previous_response_id: responses are not kept here; send the whole conversation",
                param="previous_response_id",
            )
        parsed = await offload.run(len(body), lambda: responses_request.parse(asked))
        request = model_calls.hinted(exchange, parsed)
        edit = ResponseEdit(response_edit.of_request(telemetry.request_id.get()))

        async def edited() -> Stream:
            stream = await pipeline.stream(exchange.caller, request)
            return replace(stream, chunks=edit.events(stream.chunks))

        if request.stream:
            await exchange.stream_of(edited())
        else:
            answer = await exchange.unless_caller_leaves(pipeline.complete(exchange.caller, request))
            await exchange.answer(orjson.dumps(edit.edited(orjson.loads(answer.body))), answer.headers)

    return [Route("POST", "/v1/responses", create, RESPONSES)]
