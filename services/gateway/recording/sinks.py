"""Where records go: nowhere unless a setting says so."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from services.gateway.recording.record import Content, Record
from services.gateway.recording.request_log import RequestLog
from services.gateway.recording.settings import Settings
from services.gateway.recording.span_texts import SpanTexts
from services.gateway.recording.text_store import TextStore

MIB = 1024 * 1024


class Sink(Protocol):
    """Takes records."""

    def add(self, record: Record) -> None:
        """Take one of a request that is over; never waits."""


@asynccontextmanager
async def opened(settings: Settings, texts: TextStore | None) -> AsyncIterator[Sequence[Sink]]:
    """The sinks that the settings ask for, and the store of texts if there is one, until the block ends.

    Raises:
        Mistakes: the folder of files cannot be made or written to.
    """
    sinks: list[Sink] = []
    async with AsyncExitStack() as stack:
        if settings.in_spans != Content.NONE:
            sinks.append(SpanTexts(Content(settings.in_spans)))
        if settings.folder:
            files = RequestLog(Path(settings.folder), Content(settings.content), settings.most_mib * MIB)
            stack.enter_context(files.writing())
            sinks.append(files)
        if texts is not None:
            await stack.enter_async_context(texts.delivering())
            sinks.append(texts)
        yield sinks
