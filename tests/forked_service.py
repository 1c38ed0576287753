"""A service that starts within milliseconds: a fork of a process that has imported it (tests/fork_server.py).

It is told to stop and it ends as one of the command line's, which tests/local, tests/chaos and the arrangement
`workers` of tests/flow start.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import BinaryIO

from services.local.server import Process, tethered
from services.local.service import Service
from tests.fork_server import LONGEST, NUMBER_SIZE, decode, encode

# What a process gets of the surroundings; no key of the developer's, no setting of his.
KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")


def kept() -> dict[str, str]:
    """The part of this process's environment that services get too."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}


class ForkedService(Service):
    """A Python module in a process of its own, forked where it is imported already."""

    def launch(self, log: BinaryIO) -> Process:
        """Ask the fork server of the module for it."""
        return _Fork(_control(self.module), self.environment(), self.death_signal, log)


class _Fork:
    """A process of the fork server's, used as one of `subprocess`."""

    def __init__(
        self, control: socket.socket, environment: Mapping[str, str], death_signal: int, log: BinaryIO
    ) -> None:
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid: int | None = None
        self._code: int | None = None
        request = json.dumps({"environment": dict(environment), "death_signal": death_signal}).encode()
        assert len(request) <= LONGEST
        with theirs:
            socket.send_fds(control, [request], [log.fileno(), theirs.fileno()])

    @property
    def pid(self) -> int:
        """Its id; waits for the server's imports, once."""
        if self._pid is None:
            self._pid = decode(self._status.recv(NUMBER_SIZE))
        return self._pid

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._ended(socket.MSG_DONTWAIT)

    def wait(self) -> int | None:
        """Its exit code, when it has ended."""
        return self._ended(0)

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once; nothing if it has ended."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, flags: int) -> int | None:
        if self._code is None:
            _ = self.pid
            try:
                # Nothing is sent by a server that died, and the kernel has ended its forks.
                self._code = decode(self._status.recv(NUMBER_SIZE, flags) or encode(-signal.SIGKILL))
                # Closed by the server when the process is no more.
                self._status.recv(NUMBER_SIZE)
                self._status.close()
            except BlockingIOError:
                pass
        return self._code


@cache
def _control(module: str) -> socket.socket:
    """The socket of the module's fork server, which ends when it is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.fork_server", module, str(theirs.fileno())]
        server = subprocess.Popen(
            tethered(command, signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            env=kept(),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours
