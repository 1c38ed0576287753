"""The playground: a prompt's decision at once, then the answers of one model or of two side by side."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from services.chassis import errors, telemetry
from services.gateway.dashboard import reasons
from services.gateway.dashboard.forms import Form
from services.gateway.dashboard.models import FleetReports
from services.gateway.dashboard.pages import HOME, Pages
from services.gateway.keys.permissions import Caller
from services.gateway.limits.mistakes import Attempt
from services.gateway.pipeline import render
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.request_ids import request_id

AUTO = "auto"
# The longest answer that may be asked for, in tokens, and the one that the form begins with.
MOST_TOKENS = 4096
TOKENS = 512
FIELDS = ("model_a", "model_b", "system", "prompt", "max_tokens")

# Lets the admin in as any other caller, with a place among the requests that run at once.
Passed = Callable[[], AbstractAsyncContextManager[tuple[Caller, Attempt]]]


class Playground:
    """Asks on behalf of the admin; each question is a request of its own, counted and booked as any other."""

    def __init__(self, pipeline: Pipeline, passed: Passed) -> None:
        self._pipeline = pipeline
        self._passed = passed

    async def decision(self, form: Form, model: str) -> dict[str, Any]:
        """What will be done with a prompt, and why; or the reason why nothing will be."""

        async def decide(caller: Caller) -> dict[str, Any]:
            decision = await self._pipeline.route(caller, _request(form, model, caller))
            return {
                "classification": render.classification(decision.classification),
                "reasons": reasons.shown(decision.classification, decision.selection),
                "degraded": decision.degraded,
            }

        return await self._asked(decide)

    async def answer(self, form: Form, model: str) -> dict[str, Any]:
        """What a model answers, and what that took; or the reason why it does not."""

        async def complete(caller: Caller) -> dict[str, Any]:
            answer = await self._pipeline.complete(caller, _request(form, model, caller))
            body = orjson.loads(answer.body)
            return {"text": _text(body), "usage": body.get("usage") or {}, "lumni": body["lumni"]}

        return await self._asked(complete)

    async def _asked(self, ask: Callable[[Caller], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """What came of a question, or the fault that came instead."""
        own_id = request_id()
        telemetry.request_id.set(own_id)
        try:
            async with self._passed() as (caller, _):
                return {"request_id": own_id, "fault": None, **await ask(caller)}
        except errors.Fault as fault:
            return {"request_id": own_id, "fault": fault.message}


class _Asked:
    """What was asked, for a page that shows what comes of it as it comes."""

    def __init__(self, playground: Playground, form: Form) -> None:
        self._playground = playground
        self._form = form
        self.models = [form.get("model_a") or AUTO, *filter(None, [form.get("model_b")])]

    async def decisions(self) -> AsyncIterator[dict[str, Any]]:
        """What will be done for each model."""
        async for one in self._in_order(self._playground.decision):
            yield one

    async def answers(self) -> AsyncIterator[dict[str, Any]]:
        """What each model answers."""
        async for one in self._in_order(self._playground.answer):
            yield one

    async def _in_order(
        self, ask: Callable[[Form, str], Coroutine[Any, Any, dict[str, Any]]]
    ) -> AsyncIterator[dict[str, Any]]:
        """Ask for all models at once; each in a task of its own, for each is a request with an id of its own."""
        tasks = [asyncio.create_task(ask(self._form, model)) for model in self.models]
        try:
            for model, task in zip(self.models, tasks, strict=True):
                yield {"model": model, **await task}
        finally:
            # Whoever left pays for nothing that has not begun.
            for task in tasks:
                task.cancel()


def router(
    pages: Pages, playground: Playground, fleet: FleetReports, admin_route: type[APIRoute]
) -> APIRouter:
    """The form, and what comes of it."""
    routes = APIRouter(prefix=HOME, route_class=admin_route)

    async def models() -> list[str]:
        known = await fleet.models() or []
        return [one.name for one in known if one.callable]

    def show(request: Request, form: Mapping[str, str], names: list[str], asked: _Asked | None) -> Response:
        return pages.growing(
            request,
            "playground.html",
            form={
                "model_a": AUTO,
                "model_b": "",
                "max_tokens": str(TOKENS),
                "system": "",
                "prompt": "",
                **form,
            },
            models=[AUTO, *names],
            asked=asked,
            most_tokens=MOST_TOKENS,
        )

    @routes.get("/playground")
    async def empty(request: Request) -> Response:
        return show(request, {}, await models(), None)

    @routes.post("/playground")
    async def ask(request: Request) -> Response:
        form: Form = request.state.form
        return show(
            request, {name: form.get(name, "") for name in FIELDS}, await models(), _Asked(playground, form)
        )

    return routes


def _request(form: Form, model: str, caller: Caller) -> ModelRequest:
    """The chat completion that a form asks for.

    Raises:
        Invalid: names the field that makes no sense.
    """
    if not form.get("prompt"):
        raise errors.Invalid("prompt: is empty; write what is to be answered", param="prompt")
    tokens = form.get("max_tokens") or str(TOKENS)
    if not tokens.isascii() or not tokens.isdigit() or not 1 <= int(tokens) <= MOST_TOKENS:
        raise errors.Invalid(f"max_tokens: expected 1 to {MOST_TOKENS}", param="max_tokens")
    messages = [{"role": "user", "content": form["prompt"]}]
    if form.get("system"):
        messages.insert(0, {"role": "system", "content": form["system"]})
    body = {"model": model, "messages": messages, "max_completion_tokens": int(tokens)}
    return chat_request.parse(orjson.dumps(body), allowed=caller.plan.allowed)


def _text(body: Mapping[str, Any]) -> str:
    """The text of an answer; empty where it has none."""
    choices = body.get("choices") or [{}]
    return str((choices[0].get("message") or {}).get("content") or "")
