"""Where records go: nowhere unless a setting says so."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from services.chassis.config import Mistakes
from services.gateway.recording.record import Content, Record
from services.gateway.recording.request_log import RequestLog
from services.gateway.recording.settings import Settings
from services.gateway.recording.span_texts import SpanTexts
from services.gateway.recording.text_store import TextStore

if TYPE_CHECKING:
    from services.gateway.recording.object_log import ObjectLog

MIB = 1024 * 1024
# What brings the packages of object storage.
EXTRA = "gateway-object-storage"


class Sink(Protocol):
    """Takes records."""

    def add(self, record: Record) -> None:
        """Take one of a request that is over; never waits."""


@asynccontextmanager
async def opened(settings: Settings, texts: TextStore | None) -> AsyncIterator[Sequence[Sink]]:
    """The sinks that the settings ask for, and the store of texts if there is one, until the block ends.

    Raises:
        Mistakes: the folder of files cannot be made or written to, or a package is missing.
    """
    sinks: list[Sink] = []
    async with AsyncExitStack() as stack:
        if settings.in_spans != Content.NONE:
            sinks.append(SpanTexts(Content(settings.in_spans)))
        if settings.folder:
            files = RequestLog(Path(settings.folder), Content(settings.content), settings.most_mib * MIB)
            stack.enter_context(files.writing())
            sinks.append(files)
        if settings.objects.address:
            objects = _object_log(settings)
            await stack.enter_async_context(objects.delivering())
            sinks.append(objects)
        if texts is not None:
            await stack.enter_async_context(texts.delivering())
            sinks.append(texts)
        yield sinks


def _object_log(settings: Settings) -> "ObjectLog":
    try:
        # Its packages are an extra of their own.
        from services.gateway.recording.object_log import ObjectLog
    except ModuleNotFoundError as error:
        raise Mistakes(
            [f"LUMNI_REQUEST_LOG_S3: needs the package {error.name}: pip install 'lumni[{EXTRA}]'"]
        ) from error
    return ObjectLog(settings.objects, Content(settings.content))
