"""OpenAI's chat completions, as far as a decision needs to understand them.

The body travels on as it came, without the `lumni` object, which is ours; unknown fields pass.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2

from services.chassis import provider_side
from services.chassis.errors import Invalid
from services.gateway.requests import hints, json_bounds, prompt_size
from services.gateway.requests.hints import NAME, Hints

# Fields that are not supported yet. Passing them on would promise what does not happen.
NOT_YET = ("cache", "prompt")
MAX_MESSAGES = 4096
MAX_CHOICES = 128
# Counts that nobody needs more of; OpenAI's own are 128 tools and 4 stops.
MAX_FIELDS = 256
MAX_TOOLS = 1024
MAX_PARTS = 4096
MAX_STOPS = 64
# What a decision reads of one message and of one conversation, in characters; the rest is counted, not read.
MESSAGE_CHARS = 4000
CONVERSATION_CHARS = 32_000
# Of a body, what is measured elsewhere or never becomes a token.
NOT_PROMPT = frozenset(("messages", "model", "stream_options", "user", "metadata"))
PARTS = ("text", "image_url", "input_audio", "file", "refusal")

ROLES = {
    "system": chat_pb2.ROLE_SYSTEM,
    "developer": chat_pb2.ROLE_DEVELOPER,
    "user": chat_pb2.ROLE_USER,
    "assistant": chat_pb2.ROLE_ASSISTANT,
    "tool": chat_pb2.ROLE_TOOL,
    "function": chat_pb2.ROLE_TOOL,
}
FORMATS = {
    "text": classifier_pb2.OUTPUT_FORMAT_TEXT,
    "json_object": classifier_pb2.OUTPUT_FORMAT_JSON_OBJECT,
    "json_schema": classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA,
}


@dataclass(frozen=True, slots=True)
class Chat:
    """A valid request: its body to pass on, and what a decision needs to know of it.

    `prompt_tokens` is an upper bound, which money is reserved for; `likely_prompt_tokens` is the estimate that context
    windows and tokens per minute are counted with, and that answers show.
    """

    body: dict[str, Any]
    model: str
    messages: list[chat_pb2.Message]
    stream: bool = False
    output_tokens: int = 0
    choices: int = 1
    tools: list[str] = field(default_factory=list)
    output_format: "classifier_pb2.OutputFormat.ValueType" = classifier_pb2.OUTPUT_FORMAT_TEXT
    prompt_tokens: int = 0
    likely_prompt_tokens: int = 0
    # A bound of what the caller predicts: where the model says something else, it is billed as output all the same.
    predicted_tokens: int = 0
    hints: Hints = field(default_factory=Hints)

    @property
    def vision(self) -> bool:
        """Whether a message carries an image."""
        return any(message.has_image for message in self.messages)

    @property
    def audio(self) -> bool:
        """Whether a message carries sound."""
        return any(message.has_audio for message in self.messages)

    @property
    def file(self) -> bool:
        """Whether a message carries a file."""
        return any(message.has_file for message in self.messages)


def parse(text: bytes | str, *, stream: bool = False) -> Chat:
    """Read and validate the body of a chat completion.

    Args:
        text: JSON.
        stream: True where the call itself asks for a stream, whatever the body says.

    Raises:
        Invalid: names the field and what is expected there.
    """
    json_bounds.check(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the body is not valid JSON: {error}", reason="INVALID_JSON") from error
    if not isinstance(body, dict):
        raise Invalid("the body must be a JSON object", reason="INVALID_JSON")
    if len(body) > MAX_FIELDS:
        raise Invalid(f"the body has more than {MAX_FIELDS} fields; send fewer")
    own = body.pop("lumni", None)
    for name in NOT_YET:
        if name in body:
            raise Invalid(f"{name}: Lumni does not support this field yet; leave it out", param=name)
    _at_most(body.get("tools"), MAX_TOOLS, "tools")
    provider_side.check(body, turns="messages")
    messages = _messages(body)
    stream = stream or _typed(body, "stream", bool, "true or false") or False
    if body.get("stream_options") is not None and not stream:
        raise Invalid("stream_options: only allowed when stream is true", param="stream_options")
    _typed(body, "stream_options", dict, "an object")
    _number(body, "temperature", 0, 2)
    _number(body, "top_p", 0, 1)
    _number(body, "frequency_penalty", -2, 2)
    _number(body, "presence_penalty", -2, 2)
    body["stream"] = stream
    if body.get("max_completion_tokens") is not None and body.get("max_tokens") is not None:
        raise Invalid("max_tokens: not together with max_completion_tokens; send one", param="max_tokens")
    cap = _whole(body, "max_completion_tokens", 1) or _whole(body, "max_tokens", 1) or 0
    model = _typed(body, "model", str, "a text") or "auto"
    if not NAME.fullmatch(model):
        raise Invalid("model: expected at most 256 printable characters", param="model")
    tools = _tools(body)
    _at_most(body.get("stop"), MAX_STOPS, "stop")
    bound, likely = prompt_size.measure(messages)
    # Tools, schemas and whatever else a provider may read as a part of the prompt.
    extra = sum(
        prompt_size.json_bytes(value)
        for name, value in body.items()
        if name not in NOT_PROMPT and isinstance(value, dict | list | str)
    )
    return Chat(
        body=body,
        model=model,
        messages=_shortened(messages),
        stream=stream,
        output_tokens=cap,
        choices=_whole(body, "n", 1, MAX_CHOICES) or 1,
        tools=tools,
        output_format=_output_format(body),
        prompt_tokens=bound + extra,
        likely_prompt_tokens=likely + int(extra / prompt_size.LIKELY_CHARS_PER_TOKEN),
        predicted_tokens=prompt_size.json_bytes(body["prediction"]) if body.get("prediction") else 0,
        hints=hints.parse(own),
    )


def _typed(body: dict[str, Any], name: str, kind: type, expected: str) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise Invalid(f"{name}: expected {expected}", param=name)
    return value


def _number(body: dict[str, Any], name: str, low: float, high: float) -> None:
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Invalid(f"{name}: expected a number from {low:g} to {high:g}", param=name)


def _whole(body: dict[str, Any], name: str, low: int, high: int = 2**31) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{name}: expected a whole number from {low} to {high}", param=name)
    return value


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages: expected a list with at least one message", param="messages")
    _at_most(messages, MAX_MESSAGES, "messages")
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


def _at_most(value: Any, most: int, name: str) -> None:
    if isinstance(value, list) and len(value) > most:
        raise Invalid(f"{name}: expected at most {most}", param=name)


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


def _shortened(messages: list[dict[str, Any]]) -> list[chat_pb2.Message]:
    """What a decision reads: the ends of long messages, and the first and the newest turns of long conversations."""
    kept: list[chat_pb2.Message] = []
    room = CONVERSATION_CHARS
    for i, message in reversed(list(enumerate(messages))):
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        text = (
            content
            if isinstance(content, str)
            else "\n".join(p["text"] for p in parts if p["type"] == "text")
        )
        whole = len(text)
        share = min(MESSAGE_CHARS, room)
        if whole > share:
            head = share // 2
            text = text[:head] + text[whole - (share - head) :] if share else ""
        room -= min(whole, share)
        kinds = {part["type"] for part in parts}
        turn = chat_pb2.Message(
            role=ROLES[message["role"]],
            text=text,
            has_image="image_url" in kinds,
            has_audio="input_audio" in kinds,
            has_file="file" in kinds,
            omitted_chars=max(0, whole - share),
        )
        if room > 0 or i == 0 or turn.has_image or turn.has_audio or turn.has_file:
            kept.append(turn)
    return kept[::-1]


def _tools(body: dict[str, Any]) -> list[str]:
    """The names of the tools, which are functions by now."""
    tools = body.get("tools") or ()
    names = []
    for tool in tools:
        inner = tool.get(str(tool.get("type")), tool)
        names.append(str(inner.get("name", "")) if isinstance(inner, dict) else "")
    return names


def _output_format(body: dict[str, Any]) -> "classifier_pb2.OutputFormat.ValueType":
    wanted = _typed(body, "response_format", dict, "an object")
    if not wanted:
        return classifier_pb2.OUTPUT_FORMAT_TEXT
    kind = wanted.get("type")
    if not isinstance(kind, str) or kind not in FORMATS:
        raise Invalid(
            f"response_format.type: expected one of {', '.join(FORMATS)}", param="response_format.type"
        )
    return FORMATS[kind]
