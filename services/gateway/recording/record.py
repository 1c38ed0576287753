"""What is written of one request."""

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from services.gateway.recording import redaction

# The fields of a chunk whose texts make up an answer.
TEXTS = frozenset("text content refusal reasoning_content thinking arguments partial_json".split())
# Of each side of a request, in bytes of JSON; what is longer is cut, and the record says so.
LONGEST = 1024 * 1024
# What a record takes beside its texts, about, in bytes.
OVERHEAD = 4096


class Content(StrEnum):
    """What is written of the texts of a request."""

    NONE = "none"
    REDACTED = "redacted"
    FULL = "full"


@dataclass(slots=True, eq=False)
class Record:
    """One request on its way.

    Attributes:
        about: Who asked for what, by the names in the file.
        request: The body that the caller sent, as JSON; empty where that is too long.
        response: The answer, or the chunks of it, as JSON each.
        stream: Whether the answer came in chunks.
        may_keep_texts: Whether the caller's plan and key let texts be kept anywhere.
        may_evaluate: Whether the caller's plan lets other models be asked the same.
        began_ns: When it came, in nanoseconds since 1970.
        duration_ms: Until it ended.
        taken: The model that answered, tokens and cost; empty without an answer.
        error: The class of what went wrong and its text; empty when nothing did.

    """

    about: Mapping[str, Any]
    request: bytes
    stream: bool
    may_keep_texts: bool = True
    may_evaluate: bool = False
    began_ns: int = field(default_factory=time.time_ns)
    response: list[str] = field(default_factory=list)
    duration_ms: float = 0.0
    taken: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] = field(default_factory=dict)
    _asked: int = 0
    _answered: int = 0
    _held: int = 0
    _cut: list[str] = field(default_factory=list)
    _redacted: bytes = b""
    _redacting: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Let go of a body that is too long, which would wait in memory for nothing."""
        self._asked = len(self.request)
        if self._asked > LONGEST:
            self.request = b""
            self._cut.append("request")
        self._held += len(self.request)

    def add(self, text: str) -> None:
        """Add an answer, or a chunk of one, as long as there is room."""
        self._answered += len(text)
        if self._answered <= LONGEST:
            self.response.append(text)
            self._held += sys.getsizeof(text)
        elif "response" not in self._cut:
            self._cut.append("response")

    def end(self, error: Mapping[str, str] | None = None) -> None:
        """Note that it is over."""
        self.duration_ms = round((time.time_ns() - self.began_ns) / 1e6, 2)
        self.error = error or {}

    @property
    def size(self) -> int:
        """About the most bytes that it takes: its texts as they came, and once redacted."""
        return OVERHEAD + 2 * self._held

    @property
    def length(self) -> int:
        """Of the request and the answer as they came, in characters of JSON; more than they hold where they are cut."""
        return self._asked + self._answered

    @property
    def cut(self) -> list[str]:
        """Which of `request` and `response` were too long to be whole."""
        return self._cut

    @property
    def name(self) -> str:
        """The name of its file: `timestamp_model_requestid.json`, which sorts by time."""
        began = datetime.fromtimestamp(self.began_ns / 1e9, UTC)
        model = "".join(one if one.isalnum() or one in "-." else "-" for one in str(self.about["model"]))
        moment = f"{began:%Y%m%dT%H%M%S}.{began.microsecond // 1000:03}Z"
        return f"{moment}_{model[:64]}_{self.about['request_id']}.json"

    def written(self, content: Content) -> bytes:
        """The file's text."""
        whole = {
            "time": datetime.fromtimestamp(self.began_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            **self.about,
            **self.taken,
            "duration_ms": self.duration_ms,
            "error": redaction.value(dict(self.error)) if self.error else None,
            **self.sides(content),
            "cut": self.cut,
        }
        return orjson.dumps(whole, option=orjson.OPT_INDENT_2)

    def sides(self, content: Content) -> dict[str, Any]:
        """The request and the response; None for what is too long, or not to be shown."""
        if content is Content.NONE or not self.may_keep_texts:
            return {"request": None, "response": None}
        return self._once_redacted() if content is Content.REDACTED else self._sides()

    def _sides(self) -> dict[str, Any]:
        return {"request": _read(self.request) if self.request else None, "response": self._answer()}

    def _once_redacted(self) -> dict[str, Any]:
        """Redacted for the first destination that asks; the others, in threads of their own, wait for that."""
        with self._redacting:
            if not self._redacted:
                # As a whole: a secret may lie across the chunks of a stream. As JSON, which takes the least memory.
                self._redacted = orjson.dumps(redaction.value(self._sides()))
        found: dict[str, Any] = orjson.loads(self._redacted)
        return found

    def _answer(self) -> Any:
        found = [_read(one) for one in self.response]
        if self.stream:
            return {"chunks": len(found), "texts": _joined(found)}
        return found[0] if found else None


def is_record(name: str) -> bool:
    """Whether a file's name is a record's: its time, a model and a request's id."""
    return name.endswith(".json") and name.count("_") == 2 and name[8:9] == "T"


def _joined(chunks: list[Any]) -> dict[str, str]:
    """The texts of a stream in one piece, by the position of the answer and the name of the field."""
    found: dict[str, list[str]] = {}
    for chunk in chunks:
        if not isinstance(chunk, dict):
            continue
        position = chunk.get("output_index", chunk.get("index", 0))
        _collect(chunk.get("delta"), f"{position}.text", found)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                _collect(choice.get("delta", choice.get("text")), f"{choice.get('index', 0)}.text", found)
    return {name: "".join(parts) for name, parts in found.items()}


def _collect(value: Any, name: str, found: dict[str, list[str]]) -> None:
    """Add each text of a delta under the position and the nearest name, where that is one of an answer's texts."""
    if isinstance(value, str):
        if name.rpartition(".")[2] in TEXTS:
            found.setdefault(name, []).append(value)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            index = one.get("index", number) if isinstance(one, dict) else number
            _collect(one, f"{name}.{index}", found)
    elif isinstance(value, dict):
        for key, one in value.items():
            _collect(one, f"{name.removesuffix('.text')}.{key}", found)


def _read(text: bytes | str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.decode(errors="replace") if isinstance(text, bytes) else text
