"""Make what a provider sent into what the caller asked for: one form per operation, in OpenAI's or its own format.

The edits are few: `model` becomes the public name, usage is shown exactly when the caller asked for it, and
nothing else is touched, so a chunk that needs no edit leaves as the text it came as.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.executor.engines import provider_errors
from services.executor.engines.base import Operation, Piece
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.usage import Usage, from_chat, from_messages, from_responses


def dump(data: Any) -> str:
    """JSON text of an answer or a chunk."""
    return orjson.dumps(data).decode()


class Form(ABC):
    """One answer on its way to the caller.

    Attributes:
        usage: What the provider reported so far; None when it has not.
        said: The pieces of text the model has produced so far.
        reasoned: Whether some of its reasoning was among them.
        complete: Whether the provider said that this was all.
        service_tier: The tier the provider says it served the call on; "" when it says nothing.

    """

    def __init__(self, model: str) -> None:
        self._model = model
        self.usage: Usage | None = None
        self.said: list[str] = []
        self.reasoned = False
        self.complete = False
        self.service_tier = ""

    @abstractmethod
    def whole(self, piece: Piece) -> str:
        """The answer of a call without a stream.

        Raises:
            Failed: it is not an answer in this format.
        """

    @abstractmethod
    def chunk(self, piece: Piece) -> list[str]:
        """What of a chunk goes to the caller; often all of it, sometimes nothing."""

    def tail(self, counted: Usage) -> list[str]:  # noqa: ARG002
        """What follows the last chunk; `counted` are the tokens, reported or estimated."""
        return []

    def _text(self, piece: Piece, *, edited: bool) -> str:
        if piece.text is not None and not edited:
            return piece.text
        return dump(piece.data)

    def _name(self, part: dict[str, Any]) -> bool:
        """Set the public name; says whether that changed anything."""
        if part.get("model") == self._model:
            return False
        part["model"] = self._model
        return True


def _malformed(what: str) -> Failed:
    return Failed(ErrorClass.MALFORMED, f"the provider's answer holds no {what}", 200, billed=True)


def _words(message: Mapping[str, Any]) -> Iterator[str]:
    for name in ("content", "reasoning_content", "refusal"):
        if isinstance(text := message.get(name), str):
            yield text
    for call in message.get("tool_calls") or ():
        function = (call or {}).get("function") or {}
        yield from (
            part for part in (function.get("name"), function.get("arguments")) if isinstance(part, str)
        )
    if isinstance(old := message.get("function_call"), Mapping):
        yield from (part for part in (old.get("name"), old.get("arguments")) if isinstance(part, str))


def _shown(usage: Usage) -> dict[str, Any]:
    """Usage in the words of chat completions."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


class Chat(Form):
    """OpenAI's chat completions, and the legacy completions, which differ only in where the text is."""

    def __init__(self, model: str, *, include_usage: bool, answers: int = 1, legacy: bool = False) -> None:
        super().__init__(model)
        self._answers = answers
        self._include_usage = include_usage
        self._legacy = legacy
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._reported: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}

    def whole(self, piece: Piece) -> str:
        """The answer, under the public name of the model."""
        data = piece.data
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            raise _malformed("choices")
        for choice in choices:
            self.said.extend(self._choice_words(choice.get("message") or choice))
        self._read_usage(data)
        self.complete = True
        return self._text(piece, edited=self._name(data))

    def chunk(self, piece: Piece) -> list[str]:
        """The chunk, with its usage taken out and kept for the end."""
        if piece.done:
            # An end of nothing is no answer.
            self.complete = bool(self._begun)
            return []
        data = piece.data
        had_usage = self._read_usage(data)
        choices = data.get("choices") or []
        meaningful = self._read_choices(choices)
        if not self._head:
            self._head = {
                name: data[name] for name in ("id", "created", "system_fingerprint") if name in data
            }
        if had_usage and not meaningful:
            return []
        edited = self._name(data)
        if self._include_usage:
            # OpenAI: every chunk but the last has the key, and null in it.
            edited |= data.get("usage", ...) is not None
            data["usage"] = None
        elif "usage" in data:
            del data["usage"]
            edited = True
        return [self._text(piece, edited=edited)]

    def tail(self, counted: Usage) -> list[str]:
        """The extra chunk that `stream_options.include_usage` asks for."""
        if not self._include_usage:
            return []
        kind = "text_completion" if self._legacy else "chat.completion.chunk"
        usage = self._reported or _shown(counted)
        return [dump({**self._head, "object": kind, "model": self._model, "choices": [], "usage": usage})]

    def _read_choices(self, choices: list[Any]) -> bool:
        meaningful = False
        for choice in choices:
            index = choice.get("index") or 0
            self._begun.add(index)
            delta = choice if self._legacy else choice.get("delta") or {}
            words = list(self._choice_words(delta))
            self.said.extend(words)
            self.reasoned = self.reasoned or bool(delta.get("reasoning_content"))
            if choice.get("finish_reason"):
                self._ended.add(index)
                meaningful = True
            meaningful = meaningful or any(
                value not in (None, "", []) for value in delta.values() if value != index
            )
        self.complete = self.complete or (self._begun == self._ended and len(self._ended) >= self._answers)
        return meaningful

    def _choice_words(self, part: Mapping[str, Any]) -> Iterator[str]:
        if self._legacy:
            if isinstance(text := part.get("text"), str):
                yield text
        else:
            yield from _words(part)

    def _read_usage(self, data: dict[str, Any]) -> bool:
        reported = data.get("usage")
        self.service_tier = str(data.get("service_tier") or self.service_tier)
        if not isinstance(reported, dict):
            return False
        read = from_chat(reported)
        if read != Usage():
            self.usage, self._reported = read, reported
        return True


class Responses(Form):
    """OpenAI's responses: an object without a stream, typed events with one."""

    _ENDS = ("response.completed", "response.incomplete")

    def whole(self, piece: Piece) -> str:
        """The answer, under the public name of the model."""
        if not isinstance(piece.data.get("output"), list):
            raise _malformed("output")
        self._read(piece.data)
        self.complete = True
        return self._text(piece, edited=self._name(piece.data))

    def chunk(self, piece: Piece) -> list[str]:
        """The event, as it is but for the model's name."""
        if piece.done:
            return []
        data = piece.data
        kind = data.get("type", "")
        if kind in ("response.failed", "error"):
            raise provider_errors.from_object(data.get("response", data).get("error") or data)
        if isinstance(delta := data.get("delta"), str) and kind.endswith(".delta"):
            self.said.append(delta)
        edited = False
        if isinstance(inner := data.get("response"), dict):
            edited = self._name(inner)
            self._read(inner, count_text=False)
        self.complete = self.complete or kind in self._ENDS
        return [self._text(piece, edited=edited)]

    def _read(self, response: dict[str, Any], *, count_text: bool = True) -> None:
        self.service_tier = str(response.get("service_tier") or self.service_tier)
        if isinstance(reported := response.get("usage"), dict):
            self.usage = from_responses(reported)
        if not count_text:
            return
        for item in response.get("output") or ():
            for part in item.get("content") or ():
                if isinstance(text := part.get("text"), str):
                    self.said.append(text)
            if isinstance(arguments := item.get("arguments"), str):
                self.said.append(arguments)


class Messages(Form):
    """Anthropic's messages: an object without a stream, typed events with one."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._reported: dict[str, Any] = {}

    def whole(self, piece: Piece) -> str:
        """The answer, under the public name of the model."""
        content = piece.data.get("content")
        if not isinstance(content, list):
            raise _malformed("content")
        for block in content:
            self.said.extend(_block_words(block))
        self._read(piece.data.get("usage"))
        self.complete = True
        return self._text(piece, edited=self._name(piece.data))

    def chunk(self, piece: Piece) -> list[str]:
        """The event, as it is but for the model's name."""
        if piece.done:
            return []
        data = piece.data
        kind = data.get("type")
        edited = False
        if kind == "message_start" and isinstance(message := data.get("message"), dict):
            edited = self._name(message)
            self._read(message.get("usage"))
        elif kind == "content_block_delta":
            self.said.extend(_block_words(data.get("delta") or {}))
        elif kind == "message_delta":
            self._read(data.get("usage"))
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            raise provider_errors.from_object(data.get("error") or {})
        return [self._text(piece, edited=edited)]

    def _read(self, reported: Any) -> None:
        if isinstance(reported, dict):
            # The last event's counts are running totals; what it leaves out was in the first.
            self._reported.update({name: value for name, value in reported.items() if value is not None})
            if self._reported.get("output_tokens") or self._reported.get("input_tokens"):
                self.usage = from_messages(self._reported)


def _block_words(block: Mapping[str, Any]) -> Iterator[str]:
    for name in ("text", "thinking", "partial_json"):
        if isinstance(text := block.get(name), str):
            yield text
    if block.get("type") == "tool_use" and block.get("input"):
        yield dump(block["input"])


class Embeddings(Form):
    """OpenAI's embeddings."""

    def whole(self, piece: Piece) -> str:
        """The answer, under the public name of the model."""
        if not isinstance(piece.data.get("data"), list):
            raise _malformed("data")
        if isinstance(reported := piece.data.get("usage"), dict):
            self.usage = from_chat(reported)
        self.complete = True
        return self._text(piece, edited=self._name(piece.data))

    def chunk(self, piece: Piece) -> list[str]:  # noqa: ARG002  (it is an error whatever it holds)
        """Embeddings are never streamed."""
        raise Failed(ErrorClass.MALFORMED, "embeddings came as a stream", 200, billed=True)


def form(operation: Operation, model: str, body: Mapping[str, Any]) -> Form:
    """The form of a call's answer, under the public name `model`."""
    options = body.get("stream_options")
    asked = isinstance(options, Mapping) and bool(options.get("include_usage"))
    count = body["n"] if isinstance(body.get("n"), int) else 1
    match operation:
        case Operation.CHAT:
            return Chat(model, include_usage=asked, answers=count)
        case Operation.COMPLETIONS:
            return Chat(model, include_usage=asked, answers=count, legacy=True)
        case Operation.RESPONSES:
            return Responses(model)
        case Operation.MESSAGES:
            return Messages(model)
        case Operation.EMBEDDINGS:
            return Embeddings(model)
