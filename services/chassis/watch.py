"""Files that are read again when they change."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

__all__ = ["Watch"]

# For how long a file must not have changed to be whole, in seconds.
SETTLE_S = 0.2


class Watch:
    """Compares files with how they were when last looked at: time of change, size and inode."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._seen = self._stamps()

    def changed(self) -> bool:
        """Whether one of the files changed since the last call."""
        seen, self._seen = self._seen, self._stamps()
        return seen != self._seen

    async def changes(self, every_s: float) -> AsyncGenerator[None]:
        """One item whenever a file has changed, looked at every so many seconds, until cancelled.

        It comes once the files stay as they are: one that is being written is not read.
        """
        settling = False
        while True:
            await asyncio.sleep(SETTLE_S if settling else every_s)
            if self.changed():
                settling = True
            elif settling:
                settling = False
                yield

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
