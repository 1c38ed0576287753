"""Anthropic's messages, as far as a decision needs to understand them; the body travels on as it came."""

from collections.abc import Iterator, Mapping
from typing import Any

from lumni.classifier.v1 import classifier_pb2

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.operations import Operation
from services.gateway.requests import cache_control, decision_text, fields, hints, prompt_size, web_search
from services.gateway.requests.model_request import ModelRequest

MAX_MESSAGES = 4096
MAX_PARTS = 4096
# How deep blocks may lie in blocks: a document in a tool's result holds blocks itself.
DEEPEST = 4
# The system may say something between turns, too, to the models that know it there.
ROLES = ("user", "assistant", "system")
BLOCKS = (
    "text image document tool_use tool_result thinking redacted_thinking search_result server_tool_use "
    "web_search_tool_result"
).split()
SOURCES: Mapping[str, tuple[str, ...]] = {
    "image": ("base64", "url"),
    # What a document at an address costs cannot be bounded, and so not be reserved.
    "document": ("base64", "text", "content"),
}
NOT_PROMPT = frozenset(("messages", "model", "metadata", "system"))


def parse(text: bytes | str, *, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate the body of a message.

    Args:
        text: JSON.
        allowed: What the caller's plan allows beside function tools.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = fields.read(text)
    own = body.pop("lumni", None)
    cache = cache_control.parse(body.pop("cache", None))
    web_search.bound(body, allowed)
    hosted_tools.check(body, turns="messages", allowed=allowed)
    turns = _Turns().read(body)
    body["stream"] = fields.streamed(body)
    fields.check_number(body, "temperature", 0, 1)
    fields.check_number(body, "top_p", 0, 1)
    fields.whole(body, "top_k", 0)
    for name in ("thinking", "tool_choice", "metadata", "output_config"):
        fields.typed(body, name, dict, "an object")
    fields.typed(body, "stop_sequences", list, "a list of texts")
    fields.at_most(body.get("stop_sequences"), fields.MAX_STOPS, "stop_sequences")
    bound, likely = prompt_size.measure(turns)
    extra, likely_extra = prompt_size.of_fields(body, NOT_PROMPT)
    return ModelRequest(
        operation=Operation.MESSAGES,
        body=body,
        model=fields.model(body),
        messages=decision_text.shortened(turns),
        stream=body["stream"],
        output_tokens=fields.whole(body, "max_tokens", 1) or 0,
        tools=_tools(body),
        searches=hosted_tools.searches(body),
        output_format=_output_format(body),
        prompt_tokens=bound + extra,
        likely_prompt_tokens=likely + likely_extra,
        hints=hints.parse(own),
        cache=cache,
    )


class _Turns:
    """Reads the conversation as chat messages, which a decision reads and whose tokens are counted."""

    def __init__(self) -> None:
        self._parts = 0

    def read(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The system prompt and the messages."""
        turns = []
        if system := body.get("system"):
            turns.append(self._turn("system", system, "system"))
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Invalid("messages: expected a list with at least one message", param="messages")
        fields.at_most(messages, MAX_MESSAGES, "messages")
        for i, message in enumerate(messages):
            if not isinstance(message, dict):
                raise Invalid(f"messages[{i}]: expected an object", param=f"messages[{i}]")
            if message.get("role") not in ROLES:
                field = f"messages[{i}].role"
                raise Invalid(f"{field}: expected one of {', '.join(ROLES)}", param=field)
            turns.append(self._turn(message["role"], message.get("content"), f"messages[{i}].content"))
        return turns

    def _turn(self, role: str, content: Any, field: str) -> dict[str, Any]:
        if isinstance(content, str):
            return {"role": role, "content": content}
        if not isinstance(content, list):
            raise Invalid(f"{field}: expected a text or a list of blocks", param=field)
        parts = list(self._blocks(content, field, DEEPEST))
        # What no decision reads is counted as what stands beside the content.
        counted = [part["counted"] for part in parts if "counted" in part]
        shown = [part for part in parts if "counted" not in part]
        results = any(isinstance(one, Mapping) and one.get("type") == "tool_result" for one in content)
        beside = {"blocks": counted} if counted else {}
        return {"role": "tool" if results else role, "content": shown, **beside}

    def _blocks(self, blocks: list[Any], field: str, levels: int) -> Iterator[dict[str, Any]]:
        self._parts += len(blocks)
        if self._parts > MAX_PARTS:
            raise Invalid(f"messages: expected at most {MAX_PARTS} blocks in all", param=field)
        for i, block in enumerate(blocks):
            place = f"{field}[{i}]"
            if not isinstance(block, dict) or not isinstance(block.get("type"), str):
                raise Invalid(f"{place}: expected an object with a type", param=place)
            if block["type"] not in BLOCKS:
                raise Invalid(f"{place}.type: expected one of {', '.join(BLOCKS)}", param=f"{place}.type")
            yield from self._block(block, place, levels)

    def _block(self, block: dict[str, Any], place: str, levels: int) -> Iterator[dict[str, Any]]:
        match block["type"]:
            case "text":
                yield {"type": "text", "text": _text(block, "text", place)}
            case "image":
                _source(block, place)
                yield {"type": "image_url"}
            case "document":
                yield from self._document(block, _source(block, place), place, levels)
            case "tool_use":
                _text(block, "id", place)
                _text(block, "name", place)
                yield {"type": "tool_use", "counted": block}
            case "tool_result":
                yield {"type": "tool_result", "counted": _text(block, "tool_use_id", place)}
                yield from self._inner(block.get("content"), f"{place}.content", levels)
            case "thinking":
                yield {"type": "thinking", "counted": _text(block, "thinking", place)}
            case kind:
                yield {"type": kind, "counted": block}

    def _document(
        self, block: dict[str, Any], source: dict[str, Any], place: str, levels: int
    ) -> Iterator[dict[str, Any]]:
        yield {"type": "document", "counted": [block.get("title"), block.get("context")]}
        if source["type"] == "content":
            yield from self._inner(source.get("content"), f"{place}.source.content", levels)
            return
        data = _text(source, "data", f"{place}.source")
        yield {"type": "text", "text": data} if source["type"] == "text" else {"type": "file", "data": data}

    def _inner(self, content: Any, place: str, levels: int) -> Iterator[dict[str, Any]]:
        if isinstance(content, str):
            yield {"type": "text", "text": content}
        elif isinstance(content, list) and levels:
            yield from self._blocks(content, place, levels - 1)
        elif content is not None:
            raise Invalid(f"{place}: expected a text or a list of blocks, not nested deeper", param=place)


def _text(part: Mapping[str, Any], name: str, place: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise Invalid(f"{place}.{name}: expected a text", param=f"{place}.{name}")
    return value


def _source(block: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Where the bytes of a picture or a document are."""
    source, known = block.get("source"), SOURCES[block["type"]]
    field = f"{place}.source"
    if not isinstance(source, dict):
        raise Invalid(f"{field}: expected an object", param=field)
    if source.get("type") not in known:
        raise Invalid(f"{field}.type: expected one of {', '.join(known)}", param=f"{field}.type")
    if source["type"] == "base64":
        _text(source, "media_type", field)
        _text(source, "data", field)
    elif source["type"] == "url":
        _text(source, "url", field)
    return source


def _tools(body: Mapping[str, Any]) -> list[str]:
    """The names of the tools, which are functions, or the search of the web, by now."""
    return [
        fields.tool_name(_text(tool, "name", f"tools[{i}]"), f"tools[{i}].name")
        for i, tool in enumerate(body.get("tools") or ())
    ]


def _output_format(body: Mapping[str, Any]) -> "classifier_pb2.OutputFormat.ValueType":
    given = body.get("output_format") or (body.get("output_config") or {}).get("format")
    if isinstance(given, dict) and given.get("type") == "json_schema":
        return classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA
    return classifier_pb2.OUTPUT_FORMAT_TEXT
