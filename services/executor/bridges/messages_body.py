"""The body of Anthropic's messages as that of a chat completion."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.chassis.deployments import Deployment
from services.executor.bridges import reasoning
from services.executor.bridges.base import mapping, objects, taken, unsupported

# Providers that pass marks for a prompt's cache on from the parts of a chat.
_CACHING = frozenset(("bedrock", "openrouter", "vertex_ai"))
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def to_chat(body: Mapping[str, Any], deployment: Deployment) -> dict[str, Any]:
    """Translate a body.

    What cannot change what is said is left out: metadata, the service tier, signatures of thoughts, marks for a cache
    where the provider has none.

    Raises:
        Failed: it asks for what a chat cannot do.
    """
    marks = deployment.provider in _CACHING
    messages = list(_system(body.get("system"), marks=marks))
    for message in body["messages"]:
        if message.get("role") == "assistant":
            messages.append(_assistant(message.get("content"), marks=marks))
        elif message.get("role") == "system":
            messages += _system(message.get("content"), marks=marks)
        else:
            messages += _user(message.get("content"), marks=marks)
    chat = {**taken(body, "temperature", "top_p"), "messages": messages}
    if deployment.provider == "gemini":
        chat |= taken(body, "top_k")
    if body.get("max_tokens") is not None:
        chat["max_completion_tokens"] = body["max_tokens"]
    if stops := body.get("stop_sequences"):
        chat["stop"] = stops
    chat |= _tools(body, marks=marks)
    form = mapping(body.get("output_format") or mapping(body.get("output_config")).get("format"))
    if form.get("type") == "json_schema":
        schema = {"name": "answer", "schema": form.get("schema"), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    if effort := _effort(body):
        chat |= reasoning.field(effort, deployment)
    return chat


def _effort(body: Mapping[str, Any]) -> str:
    """How hard to think, in OpenAI's words; empty where nothing was said."""
    if isinstance(effort := mapping(body.get("output_config")).get("effort"), str):
        return effort
    thinking = mapping(body.get("thinking"))
    if thinking.get("type") == "adaptive":
        return "medium"
    if thinking.get("type") != "enabled":
        return ""
    budget = thinking.get("budget_tokens")
    return reasoning.effort(budget) if isinstance(budget, int) else "medium"


def _system(system: Any, *, marks: bool) -> Iterator[dict[str, Any]]:
    if isinstance(system, str) and system:
        yield {"role": "system", "content": system}
    elif texts := [_text(block, marks=marks) for block in objects(system)]:
        yield {"role": "system", "content": _joined(texts)}


def _assistant(content: Any, *, marks: bool) -> dict[str, Any]:
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    texts: list[dict[str, Any]] = []
    calls = []
    for block in objects(content):
        if block.get("type") == "text":
            texts.append(_text(block, marks=marks))
        elif block.get("type") == "tool_use":
            function = {"name": block["name"], "arguments": orjson.dumps(block.get("input") or {}).decode()}
            calls.append({"id": block["id"], "type": "function", "function": function})
    message: dict[str, Any] = {"role": "assistant", "content": _joined(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        # A turn of nothing but thoughts.
        message["content"] = ""
    return message


def _user(content: Any, *, marks: bool) -> Iterator[dict[str, Any]]:
    if isinstance(content, str):
        yield {"role": "user", "content": content}
        return
    parts: list[dict[str, Any]] = []
    for block in objects(content):
        if block.get("type") != "tool_result":
            parts += _parts(block, marks=marks)
            continue
        given = block.get("content")
        shown = [one for inner in objects(given) for one in _parts(inner, marks=False)]
        text = given if isinstance(given, str) else "\n".join(one["text"] for one in shown if "text" in one)
        yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": text}
        # A chat's tools answer in text; what else they gave is shown beside it.
        parts += [one for one in shown if "text" not in one]
    if parts:
        yield {"role": "user", "content": _joined(parts)}


def _parts(block: Mapping[str, Any], *, marks: bool) -> Iterator[dict[str, Any]]:
    source = mapping(block.get("source"))
    match block.get("type"), source.get("type"):
        case "text", _:
            yield _text(block, marks=marks)
        case "image", "base64":
            yield {"type": "image_url", "image_url": {"url": _data(source)}}
        case "image", "url":
            yield {"type": "image_url", "image_url": {"url": source["url"]}}
        case "document", "base64":
            file = {"filename": block.get("title") or "document.pdf", "file_data": _data(source)}
            yield {"type": "file", "file": file}
        case "document", "text":
            yield {"type": "text", "text": source["data"]}
        case "document", "content":
            inner = source.get("content")
            if isinstance(inner, str):
                yield {"type": "text", "text": inner}
            for one in objects(inner):
                yield from _parts(one, marks=False)
        case "search_result", _:
            texts = [str(one.get("text", "")) for one in objects(block.get("content"))]
            yield {"type": "text", "text": "\n".join([str(block.get("title", "")), *texts])}
        case kind, _:
            raise unsupported("messages", f"a chat model takes no {str(kind)[:64]} like this one")


def _data(source: Mapping[str, Any]) -> str:
    return f"data:{source['media_type']};base64,{source['data']}"


def _text(block: Mapping[str, Any], *, marks: bool) -> dict[str, Any]:
    mark = {"cache_control": block["cache_control"]} if marks and block.get("cache_control") else {}
    return {"type": "text", "text": block["text"], **mark}


def _joined(parts: list[dict[str, Any]]) -> Any:
    """One text where there is nothing else: many servers take no list."""
    if all(part.keys() == {"type", "text"} for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _tools(body: Mapping[str, Any], *, marks: bool) -> dict[str, Any]:
    tools = []
    for tool in objects(body.get("tools")):
        function = {"name": tool["name"], **taken(tool, "description", "strict")}
        function["parameters"] = tool.get("input_schema") or {"type": "object", "properties": {}}
        mark = {"cache_control": tool["cache_control"]} if marks and tool.get("cache_control") else {}
        tools.append({"type": "function", "function": function, **mark})
    if not tools:
        return {}
    chat: dict[str, Any] = {"tools": tools}
    choice = mapping(body.get("tool_choice"))
    if choice.get("type") == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    elif choice.get("type") in _CHOICES:
        chat["tool_choice"] = _CHOICES[choice["type"]]
    if choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False
    return chat
