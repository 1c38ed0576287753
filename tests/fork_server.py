"""One process that has imported what a service imports, and forks that service as often as it is asked to.

Importing takes seconds of a processor, and the tests start each service many times. What a fork runs is the module, as
`python -m MODULE` does, with the environment and the log that it is given. tests/forked_service.py asks:

    python -m tests.fork_server MODULE FILE_DESCRIPTOR
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from services.chassis.workers import PR_SET_PDEATHSIG
from services.local import secret

ENGINES = tuple(
    f"services.executor.engines.{name}" for name in ("direct", "images", "litellm_sdk", "prepare")
)
# What a service imports only when it has read its settings.
LATE: Mapping[str, Sequence[str]] = {
    "services.executor": ENGINES,
    "services.together": (
        *(f"services.{name}.__main__" for name in ("classifier", "selector", "executor")),
        *ENGINES,
    ),
}
# The first file descriptor after those of input, output and errors.
FIRST_OWN = 3
# The longest request, in bytes: an environment.
LONGEST = 2**16
# The bytes of a process id and of an exit code, as both are sent.
NUMBER_SIZE = 8


def encode(number: int) -> bytes:
    """A process id or an exit code as it is sent."""
    return number.to_bytes(NUMBER_SIZE, "little", signed=True)


def decode(sent: bytes) -> int:
    """What `encode` sent."""
    return int.from_bytes(sent, "little", signed=True)


def main(module: str, control: socket.socket) -> None:
    """Serve until nobody asks any more, and in each fork run the module."""
    before = dict(os.environ)
    gc.disable()
    for name in (f"{module}.__main__", *LATE.get(module, ())):
        importlib.import_module(name)
    gc.freeze()
    gc.enable()
    # It is run anew, as __main__.
    del sys.modules[f"{module}.__main__"]
    imported = {name: value for name, value in os.environ.items() if before.get(name) != value}

    environment = _forked(control)
    if environment is not None:
        # Those of the server and of other forks.
        os.closerange(FIRST_OWN, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(environment | imported)
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _forked(control: socket.socket) -> dict[str, str] | None:
    """Fork as asked: the environment in each fork, and None here when nobody asks any more."""
    with control, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fd)
                    key.data()
                    continue
                request, descriptors, _, _ = socket.recv_fds(control, LONGEST, 2)
                if not request:
                    # The kernel ends the forks with this process.
                    return None
                asked = json.loads(request)
                parent, pid = os.getpid(), os.fork()
                if pid == 0:
                    _detach(parent, asked["death_signal"], descriptors[0])
                    return dict(asked["environment"])
                os.close(descriptors[0])
                waiting = socket.socket(fileno=descriptors[1])
                _tell(waiting, pid)
                ended = os.pidfd_open(pid)
                selector.register(ended, selectors.EVENT_READ, partial(_report, ended, waiting))


def _detach(parent: int, death_signal: int, log: int) -> None:
    """Become a process as `services.local.server` starts them: a session, a log and an end of its own."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    os.umask(secret.UMASK)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def _report(ended: int, waiting: socket.socket) -> None:
    """Send how a process ended (a negative code is the signal that killed it), and close when it is no more.

    Sent before, so that who knows of no end finds the process, and no other one with its id.
    """
    found = os.waitid(os.P_PIDFD, ended, os.WEXITED | os.WNOWAIT)
    assert found is not None
    with waiting:
        _tell(waiting, found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
        os.waitid(os.P_PIDFD, ended, os.WEXITED)
    os.close(ended)


def _tell(waiting: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError):
        waiting.send(encode(number))


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
