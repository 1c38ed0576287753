"""OpenAI's responses, as far as a decision needs to understand them.

`read` takes out of the body what Lumni does itself: whether the answer is stored, and which one it goes on from.
`parse` makes a request of the rest, after what was said before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lumni.classifier.v1 import classifier_pb2

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.operations import Operation
from services.gateway.requests import cache_control, decision_text, fields, hints, prompt_size
from services.gateway.requests.model_request import ModelRequest

MAX_ITEMS = 4096
MAX_PARTS = 4096
ROLES = ("user", "assistant", "system", "developer")
# The items that are no messages, each with the texts that it must have.
ITEMS: Mapping[str, tuple[str, ...]] = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id",),
    "custom_tool_call": ("call_id", "name", "input"),
    "custom_tool_call_output": ("call_id",),
    "reasoning": (),
    "web_search_call": (),
}
# The parts of messages and of what tools gave: what they are to a decision, and the field with what they hold.
PARTS: Mapping[str, tuple[str, str]] = {
    "input_text": ("text", "text"),
    "output_text": ("text", "text"),
    "text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
    "input_image": ("image_url", "image_url"),
    # What a file at an address costs cannot be bounded, and so not be reserved.
    "input_file": ("file", "file_data"),
    "input_audio": ("input_audio", "input_audio"),
}
NOT_PROMPT = frozenset("input model metadata user instructions include truncation safety_identifier".split())
FORMATS = {
    "text": classifier_pb2.OUTPUT_FORMAT_TEXT,
    "json_object": classifier_pb2.OUTPUT_FORMAT_JSON_OBJECT,
    "json_schema": classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A body, and what it asks of Lumni.

    Attributes:
        body: What travels on.
        items: The input as a list of items.
        store: Whether the response is to be kept.
        previous: The id of the response that it goes on from; empty where it begins anew.

    """

    body: dict[str, Any]
    items: list[Any]
    store: bool
    previous: str


def read(text: bytes | str) -> Asked:
    """Read the body of a response.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = fields.read(text)
    store = fields.typed(body, "store", bool, "true or false")
    previous = fields.typed(body, "previous_response_id", str, "the id of a response") or ""
    for name in ("store", "previous_response_id"):
        body.pop(name, None)
    given = body.get("input")
    if isinstance(given, str) and given:
        items: list[Any] = [{"type": "message", "role": "user", "content": given}]
    elif isinstance(given, list) and given:
        items = given
    else:
        raise Invalid("input: expected a text, or a list with at least one item", param="input")
    return Asked(body, items, store is not False, previous)


def parse(asked: Asked, earlier: Sequence[dict[str, Any]] = ()) -> ModelRequest:
    """Validate a body that goes on from earlier items.

    Raises:
        Invalid: names the field and what is expected there.
    """
    # A text travels on as it came.
    body = {**asked.body, "input": [*earlier, *asked.items]} if earlier else dict(asked.body)
    own = body.pop("lumni", None)
    cache = cache_control.parse(body.pop("cache", None))
    hosted_tools.check(body, turns="input")
    body["stream"] = fields.streamed(body)
    _check(body)
    turns = _turns(body, [*earlier, *asked.items])
    bound, likely = prompt_size.measure(turns)
    extra, likely_extra = prompt_size.of_fields(body, NOT_PROMPT)
    return ModelRequest(
        operation=Operation.RESPONSES,
        body=body,
        model=fields.model(body),
        messages=decision_text.shortened(turns),
        stream=body["stream"],
        output_tokens=fields.whole(body, "max_output_tokens", 1) or 0,
        tools=[tool["name"] for _, tool in _tools(body)],
        output_format=_output_format(body),
        prompt_tokens=bound + extra,
        likely_prompt_tokens=likely + likely_extra,
        hints=hints.parse(own),
        cache=cache,
    )


def _check(body: Mapping[str, Any]) -> None:
    given = dict(body)
    fields.check_number(given, "temperature", 0, 2)
    fields.check_number(given, "top_p", 0, 1)
    fields.whole(given, "top_logprobs", 0, 20)
    fields.typed(given, "parallel_tool_calls", bool, "true or false")
    fields.typed(given, "instructions", str, "a text")
    fields.typed(given, "include", list, "a list of texts")
    for name in ("reasoning", "text", "metadata", "stream_options"):
        fields.typed(given, name, dict, "an object")
    if not isinstance(choice := given.get("tool_choice"), str | dict) and choice is not None:
        raise Invalid("tool_choice: expected a text or an object", param="tool_choice")
    if isinstance(choice, dict) and choice.get("type") not in ("function", "custom", "allowed_tools"):
        raise Invalid(
            "tool_choice.type: expected one of function, custom, allowed_tools", param="tool_choice.type"
        )
    for place, tool in _tools(given):
        if not isinstance(tool.get("name"), str):
            raise Invalid(f"{place}.name: expected a text", param=f"{place}.name")
        fields.tool_name(tool["name"], f"{place}.name")


def _tools(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All tools, the namespaces and what they hold, each with its place."""
    for i, tool in enumerate(body.get("tools") or ()):
        yield f"tools[{i}]", tool
        if tool.get("type") == "namespace":
            yield from ((f"tools[{i}].tools[{n}]", inner) for n, inner in enumerate(tool["tools"]))


def _turns(body: Mapping[str, Any], items: list[Any]) -> list[dict[str, Any]]:
    """The conversation as chat messages, which a decision reads and whose tokens are counted."""
    fields.at_most(items, MAX_ITEMS, "input")
    turns: list[dict[str, Any]] = []
    if instructions := body.get("instructions"):
        turns.append({"role": "system", "content": instructions})
    parts = 0
    for i, item in enumerate(items):
        turns.append(_turn(item, f"input[{i}]"))
        content = turns[-1]["content"]
        parts += len(content) if isinstance(content, list) else 0
        if parts > MAX_PARTS:
            raise Invalid(f"input: expected at most {MAX_PARTS} parts in all", param=f"input[{i}]")
    return turns


def _turn(item: Any, place: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Invalid(f"{place}: expected an object", param=place)
    kind = item.get("type", "message")
    if kind == "message":
        if item.get("role") not in ROLES:
            raise Invalid(f"{place}.role: expected one of {', '.join(ROLES)}", param=f"{place}.role")
        return {"role": item["role"], "content": _content(item.get("content"), f"{place}.content")}
    if not isinstance(kind, str) or kind not in ITEMS:
        known = ", ".join(("message", *ITEMS))
        raise Invalid(f"{place}.type: expected one of {known}", param=f"{place}.type")
    for name in ITEMS[kind]:
        if not isinstance(item.get(name), str):
            raise Invalid(f"{place}.{name}: expected a text", param=f"{place}.{name}")
    if kind.endswith("_output"):
        return {"role": "tool", "content": _content(item.get("output"), f"{place}.output")}
    # No decision reads it; it is counted as what stands beside the content.
    return {"role": "assistant", "content": None, "item": item}


def _content(content: Any, place: str) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Invalid(f"{place}: expected a text or a list of parts", param=place)
    return [_part(part, f"{place}[{i}]") for i, part in enumerate(content)]


def _part(part: Any, place: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise Invalid(f"{place}: expected an object with a type", param=place)
    if not isinstance(part.get("type"), str) or part["type"] not in PARTS:
        raise Invalid(f"{place}.type: expected one of {', '.join(PARTS)}", param=f"{place}.type")
    kind, field = PARTS[part["type"]]
    if not isinstance(held := part.get(field), dict if kind == "input_audio" else str):
        raise Invalid(f"{place}.{field}: is needed here; files are not kept", param=f"{place}.{field}")
    return {"type": kind, field: held}


def _output_format(body: Mapping[str, Any]) -> "classifier_pb2.OutputFormat.ValueType":
    wanted = (body.get("text") or {}).get("format")
    if wanted is None:
        return classifier_pb2.OUTPUT_FORMAT_TEXT
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if not isinstance(kind, str) or kind not in FORMATS:
        raise Invalid(f"text.format.type: expected one of {', '.join(FORMATS)}", param="text.format.type")
    return FORMATS[kind]
