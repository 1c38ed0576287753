"""One of Lumni's own processes: `python -m services.X`, and the check that it is ready."""

import asyncio
import http.client
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL

from services.chassis import rpc
from services.chassis.rpc import probe
from services.local import ports
from services.local.server import POLL_S, Failed, Server

Check = Callable[[], Awaitable[bool]]
CHECK_S = 1.0


class Service(Server):
    """A Python module in a process of its own."""

    # Usage is recorded before and after every call, so a sudden end loses nothing; draining might take minutes.
    death_signal = SIGKILL
    # Each check writes a line to its log.
    poll_s = 0.1

    def __init__(
        self, name: str, module: str, *, environ: Mapping[str, str], log: Path, is_ready: Check | None = None
    ) -> None:
        super().__init__(log)
        self.name = name
        self.module = module
        self._environ = environ
        self._is_ready = is_ready

    def command(self) -> Sequence[str]:
        """The interpreter that runs us, and the module."""
        return [sys.executable, "-m", self.module]

    def environment(self) -> Mapping[str, str]:
        """The variables given, and no others."""
        return self._environ

    async def answers(self) -> bool:
        """Whether its check passes; a service without one only has to run."""
        return self.pid is not None if self._is_ready is None else await self._is_ready()

    async def finish(self, timeout_s: float = 300.0) -> None:
        """Run to the end, for a module that does one thing and exits.

        Raises:
            Failed: it did not exit with code 0 in time.
        """
        self.spawn()
        try:
            async with asyncio.timeout(timeout_s):
                while self.pid is not None:  # noqa: ASYNC110  (a child's end sets no event)
                    await asyncio.sleep(POLL_S)
        except BaseException:
            await self.stop(grace_s=0)
            raise
        if self.exit_code != 0:
            raise Failed(f"{self.name} ended with code {self.exit_code}{self.last_words()}")


def grpc_health(address: str, settings: rpc.Settings) -> Check:
    """Ask the standard health service of a gRPC server."""
    return lambda: probe.serves(address, settings, timeout_s=CHECK_S)


def http_ok(base: str, path: str) -> Check:
    """Ask the HTTP server at http://host:port for a page, and expect 200."""
    host, port = ports.split(base.removeprefix("http://"))

    def get() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=CHECK_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return lambda: asyncio.to_thread(get)
