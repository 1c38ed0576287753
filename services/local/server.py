"""A server as a child process: started, checked, stopped, and ended by the kernel when its parent dies."""

import asyncio
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Protocol, TypeVar

from services.local import ports, secret

TETHER = Path(__file__).with_name("tether.py")
POLL_S = 0.01
TAIL_LINES = 12
# In bytes; a longer one is renamed at the next start.
LONGEST_LOG = 16 * 1024 * 1024


class Failed(Exception):
    """A program that did not start or did not stay; the message ends with the last lines of its log."""


def tethered(command: Sequence[str], death_signal: signal.Signals, user: int | None = None) -> list[str]:
    """The command, so that the kernel ends it when the thread that starts it ends."""
    who = "-" if user is None else str(user)
    return [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(int(death_signal)), who, *command]


class Process(Protocol):
    """What is used of `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def wait(self) -> int | None:
        """Its exit code, when it has ended."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal, unless it has ended."""

    def kill(self) -> None:
        """Kill it, unless it has ended."""


class Server(ABC):
    """A child process at one address, which it keeps when it is stopped and started again."""

    name: str
    # What the kernel sends to the child when this process dies, however it dies.
    death_signal: signal.Signals = signal.SIGKILL
    stop_signal: signal.Signals = signal.SIGTERM
    # Seconds between two checks whether it is ready.
    poll_s: float = POLL_S

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: Process | None = None
        # Where in the log the present run begins.
        self._log_start = 0

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program, by its full path, and its arguments."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether the server is ready for its clients now; returns within a second."""

    def user(self) -> int | None:
        """The numeric user to run as; None is the present one."""
        return None

    def environment(self) -> Mapping[str, str]:
        """The child's whole environment."""
        return os.environ

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended: negative is the signal that killed it; None while it runs or was never started."""
        return self._process.poll() if self._process is not None else None

    def last_words(self) -> str:
        """The last lines that the present or latest run logged, each indented."""
        try:
            text = self.log.read_bytes()[self._log_start :].decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "".join(f"\n    {line}" for line in text.splitlines()[-TAIL_LINES:])

    def spawn(self) -> None:
        """Start the process without waiting for it to be ready.

        The caller's thread must outlive the child: the kernel takes its end for the parent's death.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LONGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        with open(self.log, "ab", opener=secret.opener) as log:
            self._log_start = log.tell()
            self._process = self.launch(log)

    def launch(self, log: BinaryIO) -> Process:
        """Start the process with its output in `log`."""
        return subprocess.Popen(
            tethered(self.command(), self.death_signal, self.user()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(self.environment()),
            umask=secret.UMASK,
            # Ctrl-C is for the parent, which stops its children in their order.
            start_new_session=True,
        )

    async def ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the server answers.

        Raises:
            Failed: it ended instead, or does not answer in time.
        """
        ends = monotonic() + timeout_s
        while not await self.answers():
            if self.pid is None:
                raise Failed(
                    f"{self.name} ended with code {self.exit_code} while starting{self.last_words()}"
                )
            if monotonic() > ends:
                raise Failed(f"{self.name} does not answer after {timeout_s:g} s{self.last_words()}")
            await asyncio.sleep(self.poll_s)

    async def start(self, timeout_s: float = 30.0) -> None:
        """Start the server and wait until it answers; one that does not is stopped again.

        Raises:
            Failed: as `ready`.
        """
        self.spawn()
        try:
            await self.ready(timeout_s)
        except BaseException:
            await self.stop(grace_s=0)
            raise

    async def stop(self, grace_s: float = 10.0) -> None:
        """Stop the server, and kill it when `grace_s` is over; nothing if it has ended."""
        if self._process is None:
            return
        if self._process.poll() is None:
            # A paused one does not receive the signal.
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(self.stop_signal)
        ends = monotonic() + grace_s
        while self._process.poll() is None and monotonic() < ends:  # noqa: ASYNC110  (a child's end sets no event)
            await asyncio.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Stop it from answering while its address stays open (SIGSTOP)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)


class Store(Server):
    """A server on loopback that keeps its data in one folder.

    Args:
        folder: Of its data, its password and, unless `log` names another file, its log.
        port: 0 is any free one.
        log: The file of its log.
        settings: Its own settings, in place of our defaults.

    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder.resolve()
        super().__init__(log or self._folder / f"{self.name}.log")
        self.port = port or ports.free()
        self._settings = dict(settings or {})


S = TypeVar("S", bound=Server)


@asynccontextmanager
async def started(server: S) -> AsyncIterator[S]:
    """Run a server while the block lasts."""
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
