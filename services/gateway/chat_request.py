"""OpenAI's chat completions, as far as a decision needs to understand them.

The body travels on as it came. Only `lumni`, `cache` and `prompt` are ours and are taken out; unknown fields pass.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2

from services.chassis.errors import Invalid
from services.chassis.strategies import STRATEGIES

OWN_FIELDS = ("lumni", "cache", "prompt")
TASK_TYPES = ("fast", "powerful", "auto")
MAX_MESSAGES = 4096
MAX_CHOICES = 128
# Names travel into decisions, logs and memory, so they are short and printable.
NAME = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
MAX_NAMES = 64
MAX_COST_USD = 1_000_000
MAX_WEIGHT = 1_000_000
# The year 2286.
MAX_UNIX_S = 10**10
# What a decision reads of one message and of one conversation, in characters; the rest is counted, not read.
MESSAGE_CHARS = 4000
CONVERSATION_CHARS = 32_000
# Upper bounds in tokens of what is not text, over the tokenizers of the providers that publish theirs.
IMAGE_TOKENS = 8192
AUDIO_BYTES_PER_TOKEN = 100
FILE_BYTES_PER_TOKEN = 2
MESSAGE_TOKENS = 16
# One token of a byte-level tokenizer is at least one byte; in ordinary text it is about four characters.
LIKELY_CHARS_PER_TOKEN = 3.5

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
class Hints:
    """What the caller says to Lumni itself: the `lumni` object of a request.

    The last three are what-if questions, heard by /v1/route alone.
    """

    task_type: str = "auto"
    strategy: str = ""
    provider: str = ""
    denied_providers: Sequence[str] = ()
    denied_regions: Sequence[str] = ()
    max_cost_usd: float = 0
    # The strong win rate from which this request is for a powerful model; None leaves that to the plan.
    threshold: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    plan: str = ""
    at: float = 0


@dataclass(frozen=True, slots=True)
class Chat:
    """A valid request: its body to pass on, and what the road needs to know of it."""

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
    hints: Hints = Hints()

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
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the body is not valid JSON: {error}", reason="INVALID_JSON") from error
    if not isinstance(body, dict):
        raise Invalid("the body must be a JSON object", reason="INVALID_JSON")
    own = {name: body.pop(name) for name in OWN_FIELDS if name in body}
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
    spoken = [_message(turn) for turn in messages]
    bound, likely = _measure(messages)
    # Tools, schemas and whatever else a provider may read as a part of the prompt.
    extra = sum(
        _size(value)
        for name, value in body.items()
        if name not in NOT_PROMPT and isinstance(value, dict | list | str)
    )
    return Chat(
        body=body,
        model=model,
        messages=_shortened(spoken),
        stream=stream,
        output_tokens=cap,
        choices=_whole(body, "n", 1, MAX_CHOICES) or 1,
        tools=tools,
        output_format=_output_format(body),
        prompt_tokens=bound + extra,
        likely_prompt_tokens=likely + int(extra / LIKELY_CHARS_PER_TOKEN),
        predicted_tokens=_size(body["prediction"]) if body.get("prediction") else 0,
        hints=_hints(own.get("lumni")),
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
    if len(messages) > MAX_MESSAGES:
        raise Invalid(f"messages: expected at most {MAX_MESSAGES}", param="messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Invalid(f"messages[{i}]: expected an object", param=f"messages[{i}]")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise Invalid(
                f"messages[{i}].role: expected one of {', '.join(ROLES)}", param=f"messages[{i}].role"
            )
        _content(message.get("content"), f"messages[{i}].content")
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
            # A file that the provider keeps is the operator's, and of any size.
            raise Invalid(
                f"{name}[{i}].file: expected an object with file_data; files are not kept here",
                param=f"{name}[{i}].file",
            )


def _carries_data(file: Any) -> bool:
    return isinstance(file, dict) and isinstance(file.get("file_data"), str) and "file_id" not in file


def _message(turn: dict[str, Any]) -> chat_pb2.Message:
    content = turn.get("content")
    parts = content if isinstance(content, list) else []
    text = content if isinstance(content, str) else "\n".join(p["text"] for p in parts if p["type"] == "text")
    kinds = {part["type"] for part in parts}
    return chat_pb2.Message(
        role=ROLES[turn["role"]],
        text=text,
        has_image="image_url" in kinds,
        has_audio="input_audio" in kinds,
        has_file="file" in kinds,
    )


def _shortened(messages: list[chat_pb2.Message]) -> list[chat_pb2.Message]:
    """Keep the ends of long messages, and the newest turns of long conversations with the first one."""
    kept: list[chat_pb2.Message] = []
    room = CONVERSATION_CHARS
    for i, message in reversed(list(enumerate(messages))):
        whole = len(message.text)
        share = min(MESSAGE_CHARS, room)
        if whole > share:
            head = share // 2
            message.text = message.text[:head] + message.text[whole - (share - head) :] if share else ""
            message.omitted_chars = whole - share
        room -= min(whole, share)
        if room > 0 or i == 0 or message.has_image or message.has_audio or message.has_file:
            kept.append(message)
    return kept[::-1]


def _measure(messages: list[dict[str, Any]]) -> tuple[int, int]:
    """An upper bound of the prompt in tokens, and what it will probably take."""
    bound = likely = 0
    for message in messages:
        bound += MESSAGE_TOKENS
        likely += MESSAGE_TOKENS // 4
        content = message.get("content")
        rest = {key: value for key, value in message.items() if key not in ("role", "content")}
        texts = [content] if isinstance(content, str) else []
        if rest:
            texts.append(orjson.dumps(rest).decode("utf-8", "replace"))
        for part in content if isinstance(content, list) else ():
            if part["type"] in ("text", "refusal"):
                texts.append(part[part["type"]])
            elif part["type"] == "image_url":
                bound += IMAGE_TOKENS
                likely += IMAGE_TOKENS // 8
            elif part["type"] == "input_audio":
                bound += _size(part) // AUDIO_BYTES_PER_TOKEN + 1
                likely += _size(part) // AUDIO_BYTES_PER_TOKEN // 4
            else:
                bound += _size(part) // FILE_BYTES_PER_TOKEN + 1
                likely += _size(part) // FILE_BYTES_PER_TOKEN // 8
        for text in texts:
            size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
            bound += size
            likely += int(len(text) / LIKELY_CHARS_PER_TOKEN if text.isascii() else size / 2)
    return bound, max(1, likely)


def _size(part: Any) -> int:
    return len(orjson.dumps(part))


def _tools(body: dict[str, Any]) -> list[str]:
    tools = _typed(body, "tools", list, "a list") or []
    names = []
    for i, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise Invalid(f"tools[{i}]: expected an object", param=f"tools[{i}]")
        inner = tool.get(str(tool.get("type")), tool)
        names.append(str(inner.get("name", "")) if isinstance(inner, dict) else "")
    return names


def _output_format(body: dict[str, Any]) -> "classifier_pb2.OutputFormat.ValueType":
    asked = _typed(body, "response_format", dict, "an object")
    if not asked:
        return classifier_pb2.OUTPUT_FORMAT_TEXT
    kind = asked.get("type")
    if not isinstance(kind, str) or kind not in FORMATS:
        raise Invalid(
            f"response_format.type: expected one of {', '.join(FORMATS)}", param="response_format.type"
        )
    return FORMATS[kind]


def _hints(own: Any) -> Hints:
    if own is None:
        return Hints()
    if not isinstance(own, dict):
        raise Invalid("lumni: expected an object", param="lumni")
    for name, value in own.items():
        expected = HINTS.get(name)
        if expected is None:
            raise Invalid(f"lumni.{name}: unknown; expected one of {', '.join(HINTS)}", param=f"lumni.{name}")
        fits, words = expected
        if not fits(value):
            raise Invalid(f"lumni.{name}: expected {words}", param=f"lumni.{name}")
    return Hints(**own)


def _number_to(high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= high


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_NAMES and all(_is_name(item) for item in value)


def _is_weights(value: Any) -> bool:
    fits = _number_to(MAX_WEIGHT)
    return (
        isinstance(value, dict)
        and len(value) <= MAX_NAMES
        and all(_is_name(name) and fits(weight) for name, weight in value.items())
    )


def _one_of(words: Collection[str]) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in words, f"one of {', '.join(words)}"


HINTS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "task_type": _one_of(TASK_TYPES),
    "strategy": _one_of(STRATEGIES),
    "provider": (_is_name, "a short text"),
    "denied_providers": (_is_names, f"a list of at most {MAX_NAMES} short texts"),
    "denied_regions": (_is_names, f"a list of at most {MAX_NAMES} short texts"),
    "max_cost_usd": (_number_to(MAX_COST_USD), f"a number from 0 to {MAX_COST_USD}"),
    "threshold": (_number_to(1), "a number from 0 to 1"),
    "weights": (_is_weights, f"an object of numbers from 0 to {MAX_WEIGHT}"),
    "plan": (_is_name, "a short text"),
    "at": (_number_to(MAX_UNIX_S), "seconds since 1970"),
}
