"""What is recorded of requests, and where it goes: nothing unless a setting says so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.chassis.config import variable
from services.gateway.recording.record import Content, Record
from services.gateway.recording.request_log import RequestLog
from services.gateway.recording.span_texts import SpanTexts

MIB = 1024 * 1024


class Sink(Protocol):
    """Takes records."""

    def add(self, record: Record) -> None:
        """Take one of a request that is over; never waits."""


@dataclass(frozen=True)
class Settings:
    """Where records go, what is in them, and how much."""

    folder: str = variable(
        "LUMNI_REQUEST_LOG_DIR", "", "folder for one JSON file a request, such as logs/llm; none by default"
    )
    content: str = variable(
        "LUMNI_REQUEST_LOG_CONTENT",
        "redacted",
        "what these files say of prompts and answers: none, redacted (keys, mail addresses, cards hidden) or full",
    )
    most_mib: int = variable(
        "LUMNI_REQUEST_LOG_MAX_MIB", 1024, "MiB of these files in all; the oldest make room"
    )
    in_spans: str = variable(
        "LUMNI_TRACE_CONTENT", "none", "what spans say of prompts and answers: none, redacted or full"
    )

    def __post_init__(self) -> None:
        if self.content not in list(Content):
            raise ValueError(f"LUMNI_REQUEST_LOG_CONTENT: expected {', '.join(Content)}")
        if self.most_mib < 1:
            raise ValueError("LUMNI_REQUEST_LOG_MAX_MIB: expected at least 1")
        if self.in_spans not in list(Content):
            raise ValueError(f"LUMNI_TRACE_CONTENT: expected {', '.join(Content)}")


@contextmanager
def opened(settings: Settings) -> Iterator[Sequence[Sink]]:
    """The sinks that the settings ask for, until the block ends.

    Raises:
        Mistakes: the folder cannot be made or written to.
    """
    sinks: list[Sink] = []
    if settings.in_spans != Content.NONE:
        sinks.append(SpanTexts(Content(settings.in_spans)))
    if not settings.folder:
        yield sinks
        return
    log = RequestLog(Path(settings.folder), Content(settings.content), settings.most_mib * MIB)
    with log.writing():
        yield [*sinks, log]
