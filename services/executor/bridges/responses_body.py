"""The body of OpenAI's responses as that of a chat completion."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.chassis.deployments import Deployment
from services.executor.bridges import reasoning, response_tools
from services.executor.bridges.base import mapping, objects, taken, unsupported

# Providers that know OpenAI's fields which change nothing of what is said.
_OPENAI = frozenset(("azure", "openai"))
_SILENT = ("service_tier", "prompt_cache_key", "safety_identifier")


def to_chat(body: Mapping[str, Any], deployment: Deployment) -> dict[str, Any]:
    """Translate a body.

    What cannot change what is said is left out, and so are the thoughts of earlier turns, which only their own provider
    can read.

    Raises:
        Failed: it asks for what a chat cannot do.
    """
    if body.get("top_logprobs"):
        raise unsupported("top_logprobs", "a chat model's token probabilities have another shape")
    chat = {
        **taken(body, "temperature", "top_p", "parallel_tool_calls", "user"),
        "messages": list(_messages(body)),
    }
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    text = mapping(body.get("text"))
    if deployment.provider in _OPENAI and not deployment.api_base:
        chat |= taken(body, *_SILENT) | taken(text, "verbosity")
    chat |= _format(mapping(text.get("format"))) | _tools(body)
    if "tools" not in chat:
        # Without tools some servers refuse it.
        chat.pop("parallel_tool_calls", None)
    if isinstance(effort := mapping(body.get("reasoning")).get("effort"), str):
        chat |= reasoning.field(effort, deployment)
    return chat


def _messages(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(instructions := body.get("instructions"), str) and instructions:
        yield {"role": "system", "content": instructions}
    given = body["input"]
    if isinstance(given, str):
        yield {"role": "user", "content": given}
        return
    # The calls of one turn belong to one message, with the text before them.
    turn: dict[str, Any] = {}
    for item in objects(given):
        match item.get("type", "message"):
            case "function_call":
                turn = turn or {"role": "assistant", "content": None}
                turn.setdefault("tool_calls", []).append(_call(item, item["arguments"]))
            case "custom_tool_call":
                turn = turn or {"role": "assistant", "content": None}
                arguments = orjson.dumps({response_tools.FREE_TEXT: item["input"]}).decode()
                turn.setdefault("tool_calls", []).append(_call(item, arguments))
            case "reasoning":
                continue
            case kind:
                if turn:
                    yield turn
                    turn = {}
                if kind == "message" and item.get("role") == "assistant":
                    turn = _message(item)
                elif kind == "message":
                    yield _message(item)
                elif kind in ("function_call_output", "custom_tool_call_output"):
                    yield from _output(item)
                else:
                    raise unsupported("input", f"a chat model takes no {str(kind)[:64]}")
    if turn:
        yield turn


def _message(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": item["role"], "content": _content(item.get("content"))}


def _call(item: Mapping[str, Any], arguments: str) -> dict[str, Any]:
    function = {"name": response_tools.chat_name(item), "arguments": arguments}
    return {"id": item["call_id"], "type": "function", "function": function}


def _output(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    given = item.get("output")
    parts = [_part(part) for part in objects(given)]
    text = given if isinstance(given, str) else "\n".join(part["text"] for part in parts if "text" in part)
    yield {"role": "tool", "tool_call_id": item["call_id"], "content": text}
    # A chat's tools answer in text; what else they gave is shown beside it.
    if others := [part for part in parts if "text" not in part]:
        yield {"role": "user", "content": others}


def _content(content: Any) -> Any:
    """One text where there is nothing else: many servers take no list."""
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in objects(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part["text"]}
        case "refusal":
            return {"type": "text", "text": part["refusal"]}
        case "input_image":
            return {"type": "image_url", "image_url": {"url": part["image_url"], **taken(part, "detail")}}
        case "input_file":
            return {"type": "file", "file": taken(part, "file_data", "filename")}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        case kind:
            raise unsupported("input", f"a chat model takes no {str(kind)[:64]}")


def _format(wanted: Mapping[str, Any]) -> dict[str, Any]:
    match wanted.get("type"):
        case "json_schema":
            schema = taken(wanted, "name", "description", "schema", "strict")
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case _:
            return {}


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    tools = response_tools.functions(body)
    if not tools:
        return {}
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = [response_tools.chat_name(tool) for tool in objects(choice.get("tools"))]
        tools = [tool for tool in tools if tool["function"]["name"] in allowed]
        choice = choice.get("mode", "auto")
    elif isinstance(choice, Mapping):
        choice = {"type": "function", "function": {"name": response_tools.chat_name(choice)}}
    return {"tools": tools, **({"tool_choice": choice} if choice else {})}
