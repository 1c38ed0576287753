"""OpenAI's chat completions, as far as a decision needs to understand them.

The body travels on as it came, without the `lumni` object, which is ours; unknown fields pass.
"""

from typing import Any

from lumni.classifier.v1 import classifier_pb2

from services.chassis import hosted_tools
from services.chassis.errors import Invalid
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.operations import Operation
from services.gateway.requests import cache_control, decision_text, fields, hints, prompt_size, web_search
from services.gateway.requests.decision_text import ROLES
from services.gateway.requests.model_request import ModelRequest

MAX_MESSAGES = 4096
MAX_PARTS = 4096
# Of a body, what is measured elsewhere or never becomes a token.
NOT_PROMPT = frozenset(("messages", "model", "stream_options", "user", "metadata"))
PARTS = ("text", "image_url", "input_audio", "file", "refusal")

FORMATS = {
    "text": classifier_pb2.OUTPUT_FORMAT_TEXT,
    "json_object": classifier_pb2.OUTPUT_FORMAT_JSON_OBJECT,
    "json_schema": classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA,
}


def parse(text: bytes | str, *, stream: bool = False, allowed: Allowed = NOTHING) -> ModelRequest:
    """Read and validate the body of a chat completion.

    Args:
        text: JSON.
        stream: True where the call itself asks for a stream, whatever the body says.
        allowed: What the caller's plan allows beside function tools.

    Raises:
        Invalid: names the field and what is expected there.
    """
    body = fields.read(text, not_here=("prompt",))
    own = body.pop("lumni", None)
    cache = cache_control.parse(body.pop("cache", None))
    fields.at_most(body.get("tools"), fields.MAX_TOOLS, "tools")
    web_search.bound(body, allowed)
    hosted_tools.check(body, turns="messages", allowed=allowed)
    messages = _messages(body)
    stream = stream or fields.streamed(body)
    if body.get("stream_options") is not None and not stream:
        raise Invalid("stream_options: only allowed when stream is true", param="stream_options")
    fields.typed(body, "stream_options", dict, "an object")
    fields.check_number(body, "temperature", 0, 2)
    fields.check_number(body, "top_p", 0, 1)
    fields.check_number(body, "frequency_penalty", -2, 2)
    fields.check_number(body, "presence_penalty", -2, 2)
    body["stream"] = stream
    if body.get("max_completion_tokens") is not None and body.get("max_tokens") is not None:
        raise Invalid("max_tokens: not together with max_completion_tokens; send one", param="max_tokens")
    cap = fields.whole(body, "max_completion_tokens", 1) or fields.whole(body, "max_tokens", 1) or 0
    model = fields.model(body)
    tools = _tools(body)
    fields.at_most(body.get("stop"), fields.MAX_STOPS, "stop")
    bound, likely = prompt_size.measure(messages)
    # Tools, schemas and whatever else a provider may read as a part of the prompt.
    extra, likely_extra = prompt_size.of_fields(body, NOT_PROMPT)
    return ModelRequest(
        operation=Operation.CHAT,
        body=body,
        model=model,
        messages=decision_text.shortened(messages),
        stream=stream,
        output_tokens=cap,
        choices=fields.whole(body, "n", 1, fields.MAX_CHOICES) or 1,
        tools=tools,
        output_format=_output_format(body),
        prompt_tokens=bound + extra,
        likely_prompt_tokens=likely + likely_extra,
        predicted_tokens=prompt_size.json_bytes(body["prediction"]) if body.get("prediction") else 0,
        searches=hosted_tools.searches(body),
        hints=hints.parse(own),
        cache=cache,
    )


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages: expected a list with at least one message", param="messages")
    fields.at_most(messages, MAX_MESSAGES, "messages")
    parts = 0
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Invalid(f"messages[{i}]: expected an object", param=f"messages[{i}]")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise Invalid(
                f"messages[{i}].role: expected one of {', '.join(ROLES)}", param=f"messages[{i}].role"
            )
        content = message.get("content")
        parts += len(content) if isinstance(content, list) else 0
        if parts > MAX_PARTS:
            raise Invalid(
                f"messages: expected at most {MAX_PARTS} parts in all", param=f"messages[{i}].content"
            )
        _content(content, f"messages[{i}].content")
    return messages


def _content(content: Any, name: str) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise Invalid(f"{name}: expected a text or a list of parts", param=name)
    for i, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise Invalid(f"{name}[{i}]: expected an object with a type", param=f"{name}[{i}]")
        if part["type"] not in PARTS:
            # What a part of another kind costs cannot be bounded, and so not be reserved.
            raise Invalid(f"{name}[{i}].type: expected one of {', '.join(PARTS)}", param=f"{name}[{i}].type")
        kind = part["type"]
        if kind in ("text", "refusal") and not isinstance(part.get(kind), str):
            raise Invalid(f"{name}[{i}].{kind}: expected a text", param=f"{name}[{i}].{kind}")
        if part["type"] == "file" and not _carries_data(part.get("file")):
            raise Invalid(
                f"{name}[{i}].file: expected an object with file_data; files are not kept here",
                param=f"{name}[{i}].file",
            )


def _carries_data(file: Any) -> bool:
    return isinstance(file, dict) and isinstance(file.get("file_data"), str)


def _tools(body: dict[str, Any]) -> list[str]:
    """The names of the tools, which are functions, or the search of the web, by now."""
    tools = body.get("tools") or ()
    names = []
    for i, tool in enumerate(tools):
        inner = tool.get(str(tool.get("type")), tool)
        name = str(inner.get("name", "")) if isinstance(inner, dict) else ""
        names.append(fields.tool_name(name, f"tools[{i}].name"))
    return names


def _output_format(body: dict[str, Any]) -> "classifier_pb2.OutputFormat.ValueType":
    wanted = fields.typed(body, "response_format", dict, "an object")
    if not wanted:
        return classifier_pb2.OUTPUT_FORMAT_TEXT
    kind = wanted.get("type")
    if not isinstance(kind, str) or kind not in FORMATS:
        raise Invalid(
            f"response_format.type: expected one of {', '.join(FORMATS)}", param="response_format.type"
        )
    return FORMATS[kind]
