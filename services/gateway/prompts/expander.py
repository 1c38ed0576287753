"""Reads requests that may name a stored prompt: in the body, or in the path as Portkey has it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from services.chassis import offload
from services.chassis.errors import Fault, Invalid, NotFound
from services.gateway.keys.permissions import Caller
from services.gateway.prompts import expansion
from services.gateway.prompts.content import Recipe
from services.gateway.prompts.expansion import Wanted
from services.gateway.prompts.library import PromptLibrary
from services.gateway.prompts.reference import Reference
from services.gateway.requests import chat_request, fields, responses_request
from services.gateway.requests.assignment import Assignment
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.responses_request import Asked

# Makes one request of what a prompt says and of the rest of the body.
Merge = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]

# Learns of the version of a prompt that a variant has, such as greeting@3, why no request can be made of it.
Unfit = Callable[[Caller, str, Assignment, Fault], None]


class Experiments(Protocol):
    """Divides the requests for a prompt among its versions."""

    def of_prompt(
        self, caller: Caller, wanted: Reference, body: Mapping[str, Any]
    ) -> tuple[Assignment, Reference] | None:
        """The variant of a request, and the version that it gets; None where it takes part in no experiment.

        Args:
            caller: Who asks.
            wanted: The id of the prompt, and the version that the request asks for.
            body: What tells its conversation from others: the request, unchecked, with the prompt's variables.
        """


@dataclass(frozen=True, slots=True)
class Expanded:
    """The body of a request, and what it was made of: both are empty where it names no prompt."""

    body: bytes
    prompt: str = ""
    assignment: Assignment | None = None


class RequestExpander:
    """Puts what a stored prompt says in place of its name.

    Args:
        library: What callers may use.
        experiments: What versions requests get that name none; None leaves those in production.
        unfit: Learns of a variant's version that no request can be made of; None where requests are not measured.

    """

    def __init__(
        self, library: PromptLibrary, experiments: Experiments | None = None, unfit: Unfit | None = None
    ) -> None:
        self._library = library
        self._experiments = experiments
        self._unfit = unfit

    def unmeasured(self) -> "RequestExpander":
        """The same for requests that are looked at and not executed, which no experiment measures."""
        return RequestExpander(self._library, self._experiments)

    async def chat(self, caller: Caller, text: bytes, *, stream: bool = False) -> ModelRequest:
        """A chat completion.

        Args:
            caller: Who asks.
            text: The body.
            stream: Whether a stream is asked for, whatever the body says.

        Raises:
            Invalid: names the field and what is expected there.
            NotFound: the caller may use no such prompt.
            Unavailable: PostgreSQL cannot say.
        """
        made = await self._expanded(caller, text, expansion.as_chat)
        allowed = caller.plan.allowed
        request = await offload.run(
            len(made.body), lambda: chat_request.parse(made.body, stream=stream, allowed=allowed)
        )
        if not made.prompt:
            return request
        # What a short request gives a prompt may stand in it often.
        return replace(request, prompt=made.prompt, assignment=made.assignment).with_size(len(made.body))

    async def response(self, caller: Caller, text: bytes, *, kept: bool) -> tuple[Asked, Expanded]:
        """What is asked of OpenAI's responses, and of which prompt.

        Args:
            caller: Who asks.
            text: The body.
            kept: Whether responses are kept here, so that a later request may go on from this one.

        Raises:
            Invalid, NotFound, Unavailable: as `chat`.
        """
        made = await self._expanded(caller, text, expansion.as_response, kept=kept)
        return await offload.run(len(made.body), lambda: responses_request.read(made.body)), made

    async def _expanded(self, caller: Caller, text: bytes, merge: Merge, *, kept: bool = False) -> Expanded:
        body = await offload.run(len(text), lambda: _naming_prompt(text))
        if body is None:
            return Expanded(text)
        wanted = expansion.taken(body)
        if wanted is None:
            return Expanded(await offload.run(len(text), lambda: orjson.dumps(body)))
        # A conversation is told by what it says and by what the prompt is given; where later requests need not say
        # that again, it is told by its user alone, from its first request on.
        resumed = bool(body.get("previous_response_id"))
        told = (
            {}
            if kept and (resumed or body.get("store") is not False)
            else {**body, "variables": wanted.variables}
        )
        recipe, assignment = await self._recipe(caller, wanted, told)
        version = f"{recipe.name}@{recipe.version}"
        try:
            merged = await offload.run(
                len(text), lambda: orjson.dumps(merge(recipe.render(wanted.variables), body))
            )
        except Fault as fault:
            if assignment is not None and self._unfit is not None:
                self._unfit(caller, version, assignment, fault)
            raise
        return Expanded(merged, version, assignment)

    async def _recipe(
        self, caller: Caller, wanted: Wanted, told: Mapping[str, Any]
    ) -> tuple[Recipe, Assignment | None]:
        """The version that a request gets, and the variant of an experiment that this is."""
        recipe = await self._library.recipe(caller, wanted.reference)
        if self._experiments is None:
            return recipe, None
        # A name may mean another prompt to this caller's organization than to others; an id is the same to all.
        found = Reference(recipe.prompt_id, wanted.reference.which)
        assigned = self._experiments.of_prompt(caller, found, told)
        if assigned is None:
            return recipe, None
        assignment, version = assigned
        try:
            return await self._library.recipe(caller, version), assignment
        except NotFound:
            # The label that the variant names was removed since.
            return recipe, None


def _naming_prompt(text: bytes) -> dict[str, Any] | None:
    """The body of a request that names a prompt; None for the others, most of which are not even parsed.

    Raises:
        Invalid: it is no object.
    """
    if b'"prompt"' not in text:
        return None
    body = fields.read(text)
    return body if "prompt" in body else None


def named(prompt_id: str, text: bytes) -> bytes:
    """The body of a chat completion that names the prompt of a path, from `{variables, ...}`, Portkey's shape.

    Raises:
        Invalid: it is no object.
    """
    body = fields.read(text or b"{}")
    if "prompt" in body:
        raise Invalid("prompt: the path names it; leave it out", param="prompt")
    variables = body.pop("variables", None)
    return orjson.dumps({**body, "prompt": {"id": prompt_id, "variables": variables}})
