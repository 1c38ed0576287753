"""Code in the sandbox computes, and reaches nothing: each attempt is shown to work outside of it first."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.gateway.evaluation import sandbox, sandbox_child

# Each raises OUT where it got out. They find what they aim at in TARGET: a file with a secret, the port of a listening
# server, and the id of the process that runs the tests.
ATTEMPTS = {
    "read a file": "if open(FILE).read() == 'secret': OUT()",
    "write a file": "open(FILE + '.new', 'w').write('x'); OUT()",
    "read a file below Python": "import os\nif os.read(os.open(FILE, os.O_RDONLY), 6): OUT()",
    "look whether a file is there": "import os\nif os.path.exists(FILE): OUT()",
    "list a folder": "import os\nif os.listdir('/'): OUT()",
    "delete a file": "import os\nos.unlink(os.path.join(os.path.dirname(FILE), 'victim')); OUT()",
    "change to another folder": "import os\nos.chdir('/tmp'); OUT()",
    "read the environment of the parent": "if open(f'/proc/{PARENT}/environ').read(1): OUT()",
    "read its own command line": "if open('/proc/self/cmdline').read(1): OUT()",
    "connect to a server": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2).close(); OUT()",
    "send a datagram": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT)); OUT()",
    "make a local socket": "import socket\nsocket.socketpair(); OUT()",
    "start a program": "import subprocess\nsubprocess.run(['true'], check=True); OUT()",
    "fork": "import os\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0); OUT()",
    "become a program": "import os\nif os.path.exists(FILE): os.execv('/bin/sh', ['sh', '-c', 'echo OUT; exit 9'])",
    "start a thread": "import threading\nt = threading.Thread(target=len, args=('',)); t.start(); t.join(); OUT()",
    "signal the parent": "import os\nos.kill(PARENT, 0); OUT()",
    "call the kernel by itself": "import ctypes\nlibc = ctypes.CDLL(None)\nif libc.syscall(39) > 0 and libc.socket(2, 1, 0) >= 0: OUT()",
    "load a library": "import ctypes\nctypes.CDLL('libresolv.so.2'); OUT()",
    "make files in memory": "import os\nos.memfd_create('x'); OUT()",
    "make a pipe": "import os\nos.pipe(); OUT()",
    "raise its own limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)); OUT()",
    "undo the filter": "import ctypes\nif ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0: OUT()",
}
REFUSALS = (
    "PermissionError",
    "OSError",
    "RuntimeError: nothing was there",
    "RuntimeError: can't start new thread",
    "ValueError",
)
OUT = "class Out(Exception): pass\ndef OUT(): raise Out('OUT')\n"


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_attempt_that_works_outside_fails_inside(attempt: str, tmp_path: Path) -> None:
    secret = tmp_path / "file"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        target = f"FILE, PORT, PARENT = {str(secret)!r}, {port}, {os.getpid()}\n"
        source = OUT + target + ATTEMPTS[attempt]
        prepare(tmp_path)
        outside = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60)
        assert b"OUT" in outside.stdout + outside.stderr

        prepare(tmp_path)
        inside = sandbox.run(source, "raise RuntimeError('nothing was there')")

        # It was the attempt that failed, and not the program before it.
        assert inside.error.startswith(REFUSALS), inside.error
        assert {"file", "victim"} == {path.name for path in tmp_path.iterdir()}
        assert "secret" == secret.read_text()
        server.settimeout(0)
        if "create_connection" in source:
            server.accept()[0].close()
        with pytest.raises(BlockingIOError):
            server.accept()


def prepare(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "file").write_text("secret")
    (folder / "victim").write_text("")


def test_code_sees_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    assert sandbox.run("import os", "assert 'OPENAI_API_KEY' not in os.environ").passed


def test_memory_ends() -> None:
    ran = sandbox.run("held = [bytearray(1 << 20) for _ in range(1000)]", "pass")

    assert (False, True) == (ran.passed, ran.error.startswith("MemoryError"))


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """What computes for one second is ended, long before its time on the clock is over."""
    monkeypatch.setattr(sandbox, "CPU_S", 1)


@pytest.mark.usefixtures("one_second")
def test_computing_ends() -> None:
    # A signal handler of its own does not help.
    source = "import signal\nfor s in (signal.SIGXCPU, signal.SIGTERM, signal.SIGALRM): signal.signal(s, signal.SIG_IGN)\nwhile True: pass"

    assert sandbox.Ran(passed=False, error="ended with code -9") == sandbox.run(source, "pass", wall_s=120)


def test_sleeping_ends() -> None:
    began = time.monotonic()

    ran = sandbox.run("import time\ntime.sleep(600)", "pass", wall_s=0.5)

    assert "took more than 0.5 s" in ran.error
    assert time.monotonic() - began < 300


@pytest.mark.usefixtures("one_second")
@pytest.mark.parametrize(
    "source",
    [
        "import os\nwhile True: os.write(1, b'x' * 60_000)",
        "import os\nos.close(1)\nwhile True: pass",
        "import os\nos.close(0); os.close(1); os.close(2)\nimport time\ntime.sleep(600)",
    ],
)
def test_output_that_floods_or_is_closed_holds_nobody(source: str) -> None:
    assert not sandbox.run(source, "pass", wall_s=0.5).passed


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(0)",
        # What the child once said where it found no boundary.
        "import os\nos._exit(3)",
        "import sys\nsys.exit(0)",
        "raise KeyboardInterrupt",
        "import os\nos.write(1, b'0' * 32)\nos._exit(0)",
        "def f(: pass",
        "x = '" + "a" * sandbox.MOST_SOURCE_CHARACTERS + "'",
        "def f(): return f()\nf()",
        "import numpy",
    ],
)
def test_ending_early_is_no_pass(source: str) -> None:
    assert not sandbox.run(source, "pass").passed


def test_code_that_is_right_passes_with_the_standard_library() -> None:
    source = """
import collections, datetime, decimal, functools, hashlib, heapq, json, math, random, re, statistics, typing
from dataclasses import dataclass

@dataclass
class Point:
    x: int

def f(n):
    print("whatever it prints")
    return math.isqrt(n) + Point(1).x

def when(text):
    return datetime.datetime.strptime(text, "%Y-%m-%d").weekday()

if __name__ == "__main__":
    raise SystemExit("this is not for those who import it")
"""
    tests = (
        "assert f(16) == 5\nassert when('2026-11-22') == 6\nassert len(hashlib.sha256(b'').hexdigest()) == 64"
    )

    assert sandbox.Ran(passed=True) == sandbox.run(source, tests)
    assert sandbox.Ran(passed=False, error="AssertionError: no") == sandbox.run(
        source, "assert f(16) == 6, 'no'"
    )


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int",
            "assert P(2).x == 2",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass N:\n    x: int\n    next: 'N | None' = None",
            "assert N(2).next is None",
        ),
        (
            "from functools import singledispatch\n@singledispatch\ndef f(x): return 1\n@f.register\ndef _(x: int): return 2",
            "assert (f(2), f('')) == (2, 1)",
        ),
        ("import pickle\nclass E: x = 1", "assert pickle.loads(pickle.dumps(E())).x == 1"),
        ("import sys", "assert not sys.stdout.isatty()\nassert sys.stdout.buffer.write(b'x') == 1"),
        (
            "import doctest\ndef f():\n    '''\n    >>> 1\n    2\n    '''",
            "assert doctest.testmod().failed == 1",
        ),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass",
            "assert unittest.main(exit=False).result.testsRun == 1",
        ),
        ("print('\\ud800')", "pass"),
    ],
)
def test_what_looks_names_up_or_prints_works_as_anywhere(source: str, tests: str) -> None:
    assert sandbox.Ran(passed=True) == sandbox.run(source, tests)


@pytest.mark.parametrize(
    "name",
    ["unittest.__main__", "unittest.test", "json.tests.x", "venv.__main__", "lib2to3.__main__", "this"],
)
def test_modules_that_act_when_imported_are_not_loaded_before_the_boundary(name: str) -> None:
    # Whoever wrote the code need not even reach its import.
    loaded = f"import sys\nassert {name!r} not in sys.modules"

    assert sandbox.Ran(passed=True) == sandbox.run(f"if False:\n    import {name}", loaded)


def test_coroutines_run_and_still_reach_nothing() -> None:
    source = """
import asyncio

async def double(x):
    await asyncio.sleep(0.01)
    return 2 * x

async def doubles():
    return await asyncio.wait_for(asyncio.gather(*map(double, range(3))), 3)
"""
    tests = "assert asyncio.run(doubles()) == [0, 2, 4]"
    reaching = "async def f():\n    await asyncio.open_connection('127.0.0.1', 1)\nasyncio.run(f())"

    assert sandbox.Ran(passed=True) == sandbox.run(source, tests)
    assert sandbox.run(source, reaching).error.startswith("PermissionError")


def test_without_a_boundary_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine without libseccomp.
    child = tmp_path / "child.py"
    child.write_text(Path(sandbox_child.__file__).read_text().replace("libseccomp.so.2", "libnone.so"))
    monkeypatch.setattr(sandbox, "CHILD", child)
    sandbox.check.cache_clear()

    with pytest.raises(sandbox.NoSandboxError, match="libseccomp2"):
        sandbox.run(f"open({str(tmp_path / 'ran')!r}, 'w')", "pass")
    assert not (tmp_path / "ran").exists()
