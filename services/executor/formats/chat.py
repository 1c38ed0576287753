"""OpenAI's chat completions, and the legacy completions, which differ only in where the text is."""

from collections.abc import Mapping
from typing import Any

from services.executor.engines.base import Piece
from services.executor.engines.usage import Usage, from_chat
from services.executor.formats.base import Chunk, ResponseFormat, dump, malformed


class ChatFormat(ResponseFormat):
    """Choices, each with a message or deltas of one.

    Args:
        model: The public name.
        include_usage: Whether the caller wants the usage of a stream.
        choices: How many choices the caller wants.
        legacy: Whether these are the legacy completions.

    """

    def __init__(self, model: str, *, include_usage: bool, choices: int = 1, legacy: bool = False) -> None:
        super().__init__(model)
        self._choices = choices
        self._include_usage = include_usage
        self._legacy = legacy
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._reported: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}

    def whole(self, piece: Piece) -> Chunk:
        """The answer, under the public name of the model."""
        data = piece.data
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            raise malformed("choices")
        for choice in choices:
            self.texts += self._texts(choice.get("message") or choice)
        self._read_usage(data)
        self.complete = True
        return Chunk(self._text(piece, edited=self._set_model(data)))

    def chunk(self, piece: Piece) -> list[Chunk]:
        """The chunk, with its usage taken out and kept for the end."""
        if piece.done:
            # An end of nothing is no answer.
            self.complete = bool(self._begun)
            return []
        data = piece.data
        if not data:
            return []
        had_usage = self._read_usage(data)
        choices = data.get("choices") or []
        has_content, finishes = self._read_choices(choices)
        if not self._head:
            self._head = {
                name: data[name] for name in ("id", "created", "system_fingerprint") if name in data
            }
        if had_usage and not has_content and not finishes:
            return []
        edited = self._set_model(data)
        if self._include_usage:
            # OpenAI: every chunk but the last has the key, and null in it.
            edited |= data.get("usage", ...) is not None
            data["usage"] = None
        elif "usage" in data:
            del data["usage"]
            edited = True
        return [Chunk(self._text(piece, edited=edited), finishes)]

    def tail(self, counted: Usage) -> list[Chunk]:
        """The extra chunk that `stream_options.include_usage` adds."""
        if not self._include_usage:
            return []
        kind = "text_completion" if self._legacy else "chat.completion.chunk"
        usage = self._reported or _reported(counted)
        data = {**self._head, "object": kind, "model": self._model, "choices": [], "usage": usage}
        return [Chunk(dump(data))]

    def _read_choices(self, choices: list[Any]) -> tuple[bool, bool]:
        """Whether there is anything in a chunk's choices, and whether one of them ends here."""
        has_content = finishes = False
        for choice in choices:
            index = choice.get("index") or 0
            self._begun.add(index)
            delta = choice if self._legacy else choice.get("delta") or {}
            if choice.get("finish_reason"):
                self._ended.add(index)
                finishes = True
            if len(delta) == 1 and type(text := delta.get("content")) is str:
                # What nearly every chunk is.
                self.texts.append(text)
                has_content = has_content or bool(text)
                continue
            self.texts += self._texts(delta)
            self.reasoned = self.reasoned or bool(delta.get("reasoning_content"))
            has_content = has_content or any(
                value not in (None, "", []) for value in delta.values() if value != index
            )
        self.complete = self.complete or (self._begun == self._ended and len(self._ended) >= self._choices)
        return has_content, finishes

    def _texts(self, part: Mapping[str, Any]) -> list[str]:
        if not self._legacy:
            return _message_texts(part)
        return [text] if isinstance(text := part.get("text"), str) else []

    def _read_usage(self, data: dict[str, Any]) -> bool:
        reported = data.get("usage")
        if tier := data.get("service_tier"):
            self.service_tier = str(tier)
        if not isinstance(reported, dict):
            return False
        read = from_chat(reported)
        if read != Usage():
            self.usage, self._reported = read, reported
        return True


def _message_texts(message: Mapping[str, Any]) -> list[str]:
    texts = [message.get(name) for name in ("content", "reasoning_content", "refusal")]
    functions = [(call or {}).get("function") or {} for call in message.get("tool_calls") or ()]
    if isinstance(legacy := message.get("function_call"), Mapping):
        functions.append(legacy)
    for function in functions:
        texts += (function.get("name"), function.get("arguments"))
    return [text for text in texts if isinstance(text, str)]


def _reported(usage: Usage) -> dict[str, Any]:
    """Usage as chat completions report it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
