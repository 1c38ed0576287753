"""OpenAI's responses: answered whole or as typed events, kept, retrieved and deleted."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import orjson

from services.chassis import offload, telemetry
from services.chassis.errors import Invalid, NotFound
from services.gateway.conversations import conversation, response_edit
from services.gateway.conversations.input_items import Page, identified
from services.gateway.conversations.response_edit import ResponseEdit
from services.gateway.conversations.store import Kept, ResponseStore
from services.gateway.keys.permissions import Caller
from services.gateway.pipeline.pipeline import Pipeline, Stream
from services.gateway.prompts.expander import RequestExpander
from services.gateway.requests import responses_request
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.responses_request import Asked
from services.gateway.rest import model_calls
from services.gateway.rest.api_format import OPENAI, ApiFormat, event_of
from services.gateway.rest.dispatcher import Route
from services.gateway.rest.exchange import Exchange

# After the first piece an error is one of the stream's events already; before that nothing but comments was sent.
RESPONSES = ApiFormat(
    error=OPENAI.error,
    event=event_of,
    error_event=lambda fault: event_of(response_edit.error_event(fault, 0)),
    end=b"",
)


def routes(pipeline: Pipeline, prompts: RequestExpander, store: ResponseStore | None) -> list[Route]:
    """The routes of OpenAI's responses; without a store none are kept."""

    async def continued(exchange: Exchange, used: RequestExpander) -> tuple[Asked, list[Any], ModelRequest]:
        """What is asked, what was said before, and the request that both make."""
        body = await exchange.body()
        asked, made = await used.response(exchange.caller, body, kept=store is not None)
        earlier: list[Any] = []
        size = len(made.body)
        if asked.previous:
            kept = await _store(store, "previous_response_id").read(
                exchange.caller, asked.previous, "previous_response_id"
            )
            earlier = conversation.after(kept.items, kept.response)
            size += kept.size
        request = await offload.run(size, lambda: responses_request.parse(asked, earlier))
        request = replace(request, prompt=made.prompt, assignment=made.assignment).with_size(size)
        return asked, earlier, model_calls.hinted(exchange, request)

    async def create(exchange: Exchange) -> None:
        asked, earlier, request = await continued(exchange, prompts)
        keep = _keeping(store, exchange.caller, [*earlier, *asked.items]) if store and asked.store else None
        edit = ResponseEdit(response_edit.of_request(telemetry.request_id.get()), asked.previous, keep)
        if request.stream:
            await exchange.stream_of(_edited(pipeline.stream(exchange.caller, request), edit))
        else:
            answer = await exchange.unless_caller_leaves(pipeline.complete(exchange.caller, request))
            response = await edit.whole(orjson.loads(answer.body))
            await exchange.answer(orjson.dumps(response), answer.headers)

    async def count_tokens(exchange: Exchange) -> None:
        _, _, request = await continued(exchange, prompts.unmeasured())
        async with pipeline.without_model(exchange.caller):
            counted = {"object": "response.input_tokens", "input_tokens": request.likely_prompt_tokens}
        await exchange.answer(orjson.dumps(counted))

    async def retrieve(exchange: Exchange) -> None:
        async with pipeline.without_model(exchange.caller):
            ident = exchange.parameters["response_id"]
            kept = await _store(store, "response_id").read(exchange.caller, ident, "response_id")
        await exchange.answer(orjson.dumps(kept.response))

    async def input_items(exchange: Exchange) -> None:
        page = Page.of(exchange.scope["query_string"].decode("latin-1"))
        async with pipeline.without_model(exchange.caller):
            ident = exchange.parameters["response_id"]
            kept = await _store(store, "response_id").read(exchange.caller, ident, "response_id")
        await exchange.answer(orjson.dumps(page.cut_from(identified(ident, kept.items))))

    async def cancel(exchange: Exchange) -> None:
        async with pipeline.without_model(exchange.caller):
            ident = exchange.parameters["response_id"]
            await _store(store, "response_id").read(exchange.caller, ident, "response_id")
        raise Invalid(
            "background: this response was not made in the background, and none is here, so there is nothing to "
            "cancel; to stop a response, close its connection",
            param="background",
        )

    async def delete(exchange: Exchange) -> None:
        async with pipeline.without_model(exchange.caller):
            ident = exchange.parameters["response_id"]
            await _store(store, "response_id").delete(exchange.caller, ident, "response_id")
        await exchange.answer(orjson.dumps({"id": ident, "object": "response", "deleted": True}))

    return [
        Route("POST", "/v1/responses", create, RESPONSES),
        Route("POST", "/v1/responses/input_tokens", count_tokens),
        Route("GET", "/v1/responses/{response_id}", retrieve),
        Route("DELETE", "/v1/responses/{response_id}", delete),
        Route("GET", "/v1/responses/{response_id}/input_items", input_items),
        Route("POST", "/v1/responses/{response_id}/cancel", cancel),
    ]


async def _edited(beginning: Coroutine[Any, Any, Stream], edit: ResponseEdit) -> Stream:
    stream = await beginning
    return replace(stream, chunks=edit.events(stream.chunks))


def _keeping(
    store: ResponseStore, caller: Caller, items: Sequence[Any]
) -> Callable[[dict[str, Any]], Awaitable[bool]]:
    """Keeps the response that ends a conversation."""

    async def keep(response: dict[str, Any]) -> bool:
        return await store.keep(caller, Kept(response, list(items)))

    return keep


def _store(store: ResponseStore | None, param: str) -> ResponseStore:
    if store is None:
        raise NotFound(
            f"{param}: responses are not kept here, as LUMNI_RESPONSES_KEY is not set; send the whole conversation",
            reason="RESPONSE_NOT_FOUND",
            param=param,
        )
    return store
