"""Run code that a model wrote, with the tests it has to pass, where it can reach nothing.

The boundary is the kernel's: a seccomp filter that `sandbox_child.py` puts around itself before any of the code runs.
It works the same for root and for a user without any rights, and in containers. Beside it stand limits on CPU, memory
and files, an empty environment, a session of its own and a deadline after which all of it is killed. On a machine
where no filter can be had nothing is run.

It protects the machine from the code, but not the tests: both run in one interpreter, so an answer that sets out to
forge a pass can.
"""

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from services.gateway.evaluation import sandbox_child

CHILD = Path(sandbox_child.__file__)
CPU_S = 5
# Also of the clock, for code that sleeps; a start of the interpreter on a busy machine comes on top.
WALL_S = 5.0
START_S = 5.0
MEMORY_BYTES = 256 * 1024 * 1024
# What is read of the output; whoever writes more is killed.
MOST_OUTPUT_BYTES = 65_536
# Code and tests together; a longer answer is no answer to a task of this kind.
MOST_SOURCE_CHARACTERS = 200_000


class NoSandboxError(Exception):
    """No code is run, for the machine has no boundary around it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How the tests went, and in a few words why they failed."""

    passed: bool
    error: str = ""


def run(source: str, tests: str, *, wall_s: float = WALL_S) -> Ran:
    """Run code and then its tests; blocks for as long as they take.

    Args:
        source: What the model wrote.
        tests: Statements that raise where it is wrong.
        wall_s: Seconds by the clock, after which it has failed.

    Raises:
        NoSandboxError: this machine cannot keep code from doing harm.
    """
    check()
    if len(source) + len(tests) > MOST_SOURCE_CHARACTERS:
        return Ran(passed=False, error=f"longer than {MOST_SOURCE_CHARACTERS} characters")
    return _run(source, tests, wall_s)


@cache
def check() -> None:
    """See once whether code can be run on this machine, with none that somebody else wrote.

    Raises:
        NoSandboxError: it cannot.
    """
    ran = _run("", "", WALL_S)
    if not ran.passed:
        raise NoSandboxError(
            f"code cannot be run here: {ran.error}; seccomp filters of Linux and libseccomp.so.2 "
            "(Debian: apt install libseccomp2) are needed"
        )


def _run(source: str, tests: str, wall_s: float) -> Ran:
    token = secrets.token_hex(16)
    request = {
        "source": source,
        "tests": tests,
        "token": token,
        "cpu_s": CPU_S,
        "memory_bytes": MEMORY_BYTES,
    }
    process = subprocess.Popen(
        # -I: no environment, no user's packages, no current folder. -S: no installed ones.
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        close_fds=True,
        start_new_session=True,
    )
    try:
        output = _talk(process, orjson.dumps(request), time.monotonic() + START_S + wall_s)
    finally:
        _kill(process)
    said = output.decode(errors="replace") if output is not None else ""
    if output is None:
        return Ran(passed=False, error=f"took more than {wall_s:g} s, or printed too much")
    if process.returncode == sandbox_child.PASSED and said == token:
        return Ran(passed=True)
    return Ran(passed=False, error=said.replace(token, "")[:500] or f"ended with code {process.returncode}")


def _talk(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes | None:
    """Send the request and read all that is said; None where that is too long or too much."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # The child reads all of it before it runs anything.
        process.stdin.write(request)
        process.stdin.close()
    except BrokenPipeError:
        return b""
    output = b""
    descriptor = process.stdout.fileno()
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([descriptor], [], [], left)
        if not readable:
            break
        piece = os.read(descriptor, MOST_OUTPUT_BYTES)
        if not piece:
            # The child may close its output and go on; it has until the deadline to end.
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return None
            return output
        output += piece
        if len(output) > MOST_OUTPUT_BYTES:
            break
    return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the session, if it has not ended; the id is the child's own until it is waited for."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
