"""Several processes that serve on the same ports, as LUMNI_WORKERS says; one more starts, watches and measures them.

The kernel spreads new connections over the processes (SO_REUSEPORT). Each is a replica of its service: they share
nothing but the stores.
"""

import asyncio
import ctypes
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol, TypeVar

from prometheus_client import multiprocess

from services.chassis import config, listening, measuring, process, rpc, telemetry
from services.chassis.config import Mistakes

log = logging.getLogger(__name__)

# The id of the process that a worker was started by.
WORKER_OF = "LUMNI_WORKER_OF"
# Seconds until a worker that ended is replaced; doubled each time that one ends within `STEADY_S`.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STEADY_S = 30.0
# The code of a process that was given settings it cannot work with; a new one would end in the same way.
MISTAKEN = 2
PR_SET_PDEATHSIG = 1


class Serving(process.HasTelemetry, Protocol):
    """Settings of a process that serves gRPC."""

    @property
    def server(self) -> rpc.Settings:
        """How it serves."""

    @property
    def addresses(self) -> Sequence[str]:
        """Every host:port that it listens at."""


S = TypeVar("S", bound=Serving)


def run(service: str, read: Callable[[Mapping[str, str]], S], main: Callable[[S], Awaitable[None]]) -> None:
    """As `process.run`, in as many processes as the settings say."""
    if os.environ.get(WORKER_OF) == str(os.getppid()):
        _end_with_parent()
        process.run(service, read, main)
        return
    settings = process.read_or_exit(read)
    if settings.server.workers == 1:
        process.run(service, read, main)
        return
    if lines := [line for address in settings.addresses if (line := _mistake(address))]:
        config.exit_naming(Mistakes(lines))
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "services are run with python -m"
    command = [sys.executable, "-m", spec.name.removesuffix(".__main__")]
    with tempfile.TemporaryDirectory(prefix="lumni-metrics-") as folder:
        # Each worker measures into files of this folder, whose sums this process shows.
        os.environ[measuring.FOLDER] = folder
        with telemetry.running(service, settings.telemetry):
            mistaken = asyncio.run(Workers(command, settings.server.workers).run())
    if mistaken:
        sys.exit(MISTAKEN)


class Workers:
    """Processes that run the same command, replaced when they end, until this one is asked to stop."""

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = command
        self._count = count
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._mistaken = False

    async def run(self) -> bool:
        """Keep them running until SIGTERM or SIGINT, then let them drain; whether their settings were mistaken."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._keep())
        return self._mistaken

    def _stop(self) -> None:
        self._stopping.set()
        for worker in self._running:
            with suppress(ProcessLookupError):
                worker.terminate()

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = monotonic()
            code = await self._once()
            if code == MISTAKEN:
                # It has named them; the others have the same settings.
                self._mistaken = True
                self._stop()
            if self._stopping.is_set():
                return
            if monotonic() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            log.error("a worker ended with code %s; another one starts in %g s", code, pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _once(self) -> int:
        environ = {
            **os.environ,
            WORKER_OF: str(os.getpid()),
            # This process shows what all of them measure.
            "LUMNI_METRICS_LISTEN": "",
        }
        worker = await asyncio.create_subprocess_exec(*self._command, env=environ)
        self._running.add(worker)
        if self._stopping.is_set():
            worker.terminate()
        try:
            return await worker.wait()
        finally:
            self._running.discard(worker)
            # What it had under way is no longer; what it has counted stays.
            multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _mistake(address: str) -> str:
    """Why workers cannot share an address. Those who share a port notice nobody else there, so that is tried before."""
    if address.startswith("unix:"):
        return f"LUMNI_WORKERS: processes cannot share {address}; give host:port"
    return listening.problem(address)


def _end_with_parent() -> None:
    """Have the kernel end this process with its parent, however that ends: usage is recorded before and after calls."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
