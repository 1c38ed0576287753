"""Work that runs beside other work in the same task tree."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

log = logging.getLogger(__name__)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something until the block ends. Should it die before, the block is cancelled and its error raised.

    Not a TaskGroup: that would end the others at once, the executor's outbox among them, while calls are still drained.
    """
    owner = asyncio.current_task()
    task = asyncio.create_task(work)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and owner is not None:
            log.critical(
                "a task in the background died, so what it ran beside ends", exc_info=task.exception()
            )
            owner.cancel()

    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
