"""A request that names a prompt, made one that says what the prompt says.

What the request says itself goes before the defaults of the prompt, and its messages come after the prompt's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import Invalid
from services.gateway.prompts import reference
from services.gateway.prompts.reference import Reference

FIELDS = ("id", "version", "variables")
# What the parameters of a chat are called in a response; None is what a response does not take.
AS_RESPONSE: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_logprobs": "top_logprobs",
    "parallel_tool_calls": "parallel_tool_calls",
    "metadata": "metadata",
    "user": "user",
    "safety_identifier": "safety_identifier",
    "prompt_cache_key": "prompt_cache_key",
    "service_tier": "service_tier",
    "model": "model",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which prompt a request names, and with which variables."""

    reference: Reference
    variables: Any


def taken(body: dict[str, Any]) -> Wanted | None:
    """The prompt that a body names, which is taken out of it; None where it names none.

    Raises:
        Invalid: names the field and what is expected there.
    """
    given = body.pop("prompt", None)
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        raise Invalid("prompt: expected an object with the id of a prompt", param="prompt")
    for name in given:
        if name not in FIELDS:
            raise Invalid(
                f"prompt.{name[:64]}: unknown; expected one of {', '.join(FIELDS)}",
                param=f"prompt.{name[:64]}",
            )
    version = given.get("version")
    if isinstance(version, int) and not isinstance(version, bool):
        version = str(version)
    if not isinstance(version, str | None) or version == "":
        raise Invalid("prompt.version: expected a number, a label or latest", param="prompt.version")
    variables = given.get("variables")
    return Wanted(reference.parse(given["id"], version or ""), {} if variables is None else variables)


def as_chat(said: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat request of what a prompt says, and of the rest of the request."""
    own = body.get("messages", [])
    # What is no list is refused with the rest of the body.
    messages = [*said["messages"], *own] if isinstance(own, list) else own
    return {**_defaults(said, body), **body, "messages": messages}


def as_response(said: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a request for a response: what the system says becomes its instructions.

    Raises:
        Invalid: the prompt says something that only a chat can.
    """
    defaults: dict[str, Any] = {}
    for name, value in said.items():
        if name == "tools":
            defaults["tools"] = [_tool(one) for one in value]
        elif name == "response_format":
            defaults["text"] = {"format": _format(value)}
        elif name in AS_RESPONSE:
            defaults[AS_RESPONSE[name]] = value
        elif name != "messages":
            raise Invalid(
                f"prompt: this version sets {name}, which a response does not take; send it to "
                "/v1/chat/completions",
                param="prompt",
            )
    begun = _instructions(said["messages"])
    instructions = [str(one["content"]) for one in said["messages"][:begun]]
    # What is no text is refused with the rest of the body.
    if isinstance(own := body.get("instructions"), str):
        instructions.append(own)
    if instructions:
        defaults["instructions"] = "\n\n".join(instructions)
    items = [_item(one) for one in said["messages"][begun:]]
    given = body.get("input") or []
    own_items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    whole = [*items, *own_items] if isinstance(own_items, list) else own_items
    rest = {
        name: value for name, value in body.items() if not isinstance(value, str) or name != "instructions"
    }
    return {**defaults, **rest, "input": whole}


def _defaults(said: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a prompt sets, but one cap of the answer where the request has the other."""
    caps = {"max_tokens", "max_completion_tokens"}
    return {name: value for name, value in said.items() if name not in caps or not caps.intersection(body)}


def _instructions(messages: list[dict[str, Any]]) -> int:
    """How many messages at the beginning are the system's, and nothing but text."""
    for i, one in enumerate(messages):
        if one["role"] not in ("system", "developer") or not isinstance(one.get("content"), str):
            return i
    return len(messages)


def _item(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if message["role"] == "tool" or "tool_calls" in message or content is None:
        raise Invalid(
            "prompt: this version has calls of tools among its messages, which only /v1/chat/completions takes",
            param="prompt",
        )
    if isinstance(content, list):
        answered = message["role"] == "assistant"
        content = [{"type": "output_text", "text": _text(one)} if answered else _part(one) for one in content]
    return {"type": "message", "role": message["role"], "content": content}


def _text(part: Mapping[str, Any]) -> str:
    return str(part.get("text", ""))


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "input_text", "text": _text(part)}
    if part["type"] == "image_url":
        picture = part["image_url"]
        shown = {"detail": picture["detail"]} if "detail" in picture else {}
        return {"type": "input_image", "image_url": picture["url"], **shown}
    raise Invalid(
        f"prompt: this version has a part of type {part['type']}, which only /v1/chat/completions takes",
        param="prompt",
    )


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    return {"type": "function", **function} if isinstance(function, dict) else dict(tool)


def _format(wanted: Mapping[str, Any]) -> dict[str, Any]:
    schema = wanted.get("json_schema")
    return {"type": wanted["type"], **schema} if isinstance(schema, dict) else dict(wanted)
