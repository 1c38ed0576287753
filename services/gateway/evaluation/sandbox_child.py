"""The program that runs a model's code, in a process that can do nothing but compute.

`sandbox.py` starts it by its path, with an interpreter of its own (`-I -S`) and an empty environment. It reads one
JSON object, loads the modules that the code names, and then gives up everything else: from there on the kernel refuses
every system call that is not in `ALLOWED`, for this process and for good. None of them opens a file or a socket, starts
a process or sends a signal, whatever the code is.
"""

import ast
import ctypes
import errno
import importlib
import io
import json
import os
import resource
import sys
import types
from typing import Any

# What an interpreter needs to compute, to tell the time, to sleep, to say how it went and to end.
ALLOWED = """
    brk madvise mmap mprotect mremap munmap
    futex futex_time64 membarrier rseq sched_yield set_robust_list sched_getaffinity
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
    clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
    gettimeofday nanosleep time times getrusage
    getrandom getpid gettid
    read write close fstat lseek
    exit exit_group
"""
# libseccomp's numbers for "allow" and for "fail with this errno".
_ALLOW = 0x7FFF0000
_FAIL = 0x00050000
# Modules that others import when they are first used; nothing can be imported once the process is shut in.
_LATE = (
    "_strptime",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.ascii",
    "unicodedata",
    "linecache",
    "shutil",
    "weakref",
)
# Modules with one of these in their name do something when they are imported, or run what they find.
_ACTING = {
    "__main__", "antigravity", "ensurepip", "idlelib", "lib2to3", "test", "tests", "this", "tkinter", "turtle",
    "turtledemo", "venv",
}  # fmt: skip
# Exit codes; `sandbox.py` reads the first.
PASSED, FAILED = 0, 1
_LONGEST_ERROR = 500
# Longer than any deadline, in seconds.
_FOREVER_S = 3600.0


class _Nowhere(io.RawIOBase):
    """Takes what the code prints."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


def load_named(*sources: str) -> None:
    """Import the standard modules that some code imports anywhere; others will be missing when it runs."""
    names = set(_LATE)
    for source in sources:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in names:
        parts = name.split(".")
        if parts[0] in sys.stdlib_module_names and _ACTING.isdisjoint(parts):
            try:
                importlib.import_module(name)
            except BaseException:  # noqa: BLE001, S112  (nor may one end the process before the code has its turn)
                # The name of a function in a module, or a module of another platform.
                continue


def give_loop() -> None:
    """Let asyncio do without the sockets by which loops wake themselves: coroutines wait for each other and time."""
    import asyncio
    import asyncio.selector_events
    import selectors
    import time

    class Sleeper(selectors.BaseSelector):
        """Has no files to wait for, so it only sleeps."""

        def register(self, *_: Any, **__: Any) -> selectors.SelectorKey:
            raise PermissionError(errno.EPERM, "there are no files and sockets here")

        def unregister(self, fileobj: Any) -> selectors.SelectorKey:
            raise KeyError(fileobj)

        def select(self, timeout: float | None = None) -> list[Any]:
            # Without a timeout nothing is left that could happen.
            time.sleep(_FOREVER_S if timeout is None else max(0.0, timeout))
            return []

        def get_map(self) -> Any:
            return {}

    class Loop(asyncio.selector_events.BaseSelectorEventLoop):
        def __init__(self) -> None:
            super().__init__(Sleeper())

        def _make_self_pipe(self) -> None:
            """There is no other thread that could wake it."""

        _close_self_pipe = _write_to_self = _make_self_pipe

    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = Loop

    asyncio.set_event_loop_policy(Policy())


def limit(cpu_s: int, memory_bytes: int) -> None:
    """Bound what the process may use, for good; files can still be opened."""
    for kind, most in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (most, most))


def shut_in(library: ctypes.CDLL) -> None:
    """Have the kernel refuse every other system call from now on.

    Raises:
        OSError: the kernel has no filters.
    """
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    )
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    rules = library.seccomp_init(_FAIL | errno.EPERM)
    if not rules:
        raise OSError("libseccomp refuses to make a filter")
    for name in ALLOWED.split():
        number = library.seccomp_syscall_resolve_name(name.encode())
        # Some exist only on machines of 32 bits; libseccomp gives those it has no number for one below 0.
        if number >= 0:
            failed = library.seccomp_rule_add_array(rules, _ALLOW, number, 0, None)
            if failed:
                raise OSError(-failed, f"libseccomp refuses the rule for {name}")
    if failed := library.seccomp_load(rules):
        raise OSError(-failed, "the kernel takes no seccomp filter")


def main() -> None:
    """Run the code and its tests; what the exit code says counts only together with the token."""
    request: dict[str, Any] = json.load(sys.stdin)
    source, tests = request["source"], request["tests"]
    # Taken before the code can replace them; it has no say in how the process ends either.
    end, write = os._exit, os.write
    try:
        # Before anything of the code is looked at: a text may be long to parse.
        limit(request["cpu_s"], request["memory_bytes"])
        load_named(source, tests)
        if "asyncio" in sys.modules:
            give_loop()
        library = ctypes.CDLL("libseccomp.so.2")
        # Standard input, output and errors are open; no further file can be.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        shut_in(library)
    except (OSError, AttributeError, ValueError) as error:
        write(1, str(error).encode()[:_LONGEST_ERROR])
        end(FAILED)
    sys.stdout = sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Nowhere()), encoding="utf-8", errors="backslashreplace"
    )
    # A module like any other, for all that looks names up in it: dataclasses, pickle, doctest, unittest.
    answer = types.ModuleType("answer")
    sys.modules["answer"] = sys.modules["__main__"] = answer
    space = vars(answer)
    try:
        exec(compile(source, "answer", "exec", dont_inherit=True), space)  # noqa: S102  (what this process is for)
        exec(compile(tests, "tests", "exec", dont_inherit=True), space)  # noqa: S102
    except BaseException as error:  # noqa: BLE001  (sys.exit is no pass either)
        write(1, f"{type(error).__name__}: {error}".encode(errors="replace")[:_LONGEST_ERROR])
        end(FAILED)
    write(1, request["token"].encode())
    end(PASSED)


if __name__ == "__main__":
    main()
