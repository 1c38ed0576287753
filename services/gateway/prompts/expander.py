"""Reads requests that may name a stored prompt: in the body, or in the path as Portkey has it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from services.chassis import offload
from services.chassis.errors import Invalid
from services.gateway.keys.permissions import Caller
from services.gateway.prompts import expansion
from services.gateway.prompts.library import PromptLibrary
from services.gateway.requests import chat_request, fields, responses_request
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.responses_request import Asked

# Makes one request of what a prompt says and of the rest of the body.
Merge = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


class RequestExpander:
    """Puts what a stored prompt says in place of its name.

    Args:
        library: What callers may use.

    """

    def __init__(self, library: PromptLibrary) -> None:
        self._library = library

    async def chat(self, caller: Caller, text: bytes, *, stream: bool = False) -> ModelRequest:
        """A chat completion; the arguments as those of `chat_request.parse`.

        Raises:
            Invalid: names the field and what is expected there.
            NotFound: the caller may use no such prompt.
            Unavailable: PostgreSQL cannot say.
        """
        whole, prompt = await self._expanded(caller, text, expansion.as_chat)
        allowed = caller.plan.allowed
        request = await offload.run(
            len(whole), lambda: chat_request.parse(whole, stream=stream, allowed=allowed)
        )
        return replace(request, prompt=prompt) if prompt else request

    async def response(self, caller: Caller, text: bytes) -> tuple[Asked, str]:
        """What is asked of OpenAI's responses, and the version of the prompt; that is empty where none is named.

        Raises:
            Invalid, NotFound, Unavailable: as `chat`.
        """
        whole, prompt = await self._expanded(caller, text, expansion.as_response)
        return await offload.run(len(whole), lambda: responses_request.read(whole)), prompt

    async def _expanded(self, caller: Caller, text: bytes, merge: Merge) -> tuple[bytes, str]:
        # Few requests name one, and the others are parsed once.
        if b'"prompt"' not in text:
            return text, ""
        body = await offload.run(len(text), lambda: fields.read(text))
        if "prompt" not in body:
            return text, ""
        wanted = expansion.taken(body)
        if wanted is None:
            return orjson.dumps(body), ""
        recipe = await self._library.recipe(caller, wanted.reference)
        merged = merge(recipe.render(wanted.variables), body)
        return orjson.dumps(merged), f"{recipe.name}@{recipe.version}"


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
