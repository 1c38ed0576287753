"""Freed memory goes back to the system, and what stays is in huge pages."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 2**20

# Buffers of 24 MiB as they come and go with large requests: what is still resident of them when all are freed.
PROGRAM = """
import sys
from services.chassis import memory

def resident_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024

if sys.argv[1] == "given back":
    assert memory.give_back()
before = resident_mib()
bytearray(24 * 2**20)
held = [(bytearray(24 * 2**20), bytes(100)) for _ in range(4)]
kept = [bytes(100_000) for _ in held]
held.clear()
print(resident_mib() - before)
"""
# Buffers of 64 KiB, each beside a small one that stays: what is resident of 62 MiB when the large ones are freed, before
# and after a look for free pages.
BETWEEN_USED = """
from services.chassis import memory

def resident_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024

assert memory.give_back()
before = resident_mib()
held = [(bytearray(64 * 2**10), bytes(1000)) for _ in range(1000)]
kept = [small for _, small in held]
held.clear()
print(resident_mib() - before)
assert memory.trim()
print(resident_mib() - before)
"""
# Small objects of 140 MiB in all; what is in huge pages is by the kernel's count, too.
SMALL_OBJECTS = """
import sys
from pathlib import Path
from services.chassis import memory

held = [bytes(200) for _ in range(600_000)]
gathered = memory.gather(Path(sys.argv[1]))
huge = next(line for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages:"))
assert int(huge.split()[1]) * 1024 >= gathered
print(gathered)
"""


def gathered(maps: str) -> int:
    command = [sys.executable, "-c", SMALL_OBJECTS, maps]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])


def left_mib(how: str) -> float:
    command = [sys.executable, "-c", PROGRAM, how]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_free_pages_between_used_ones_are_given_back() -> None:
    command = [sys.executable, "-c", BETWEEN_USED]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    freed, trimmed = map(float, printed.split())

    assert freed > 40
    assert trimmed < 20


def test_large_buffers_are_given_back_when_they_are_freed() -> None:
    assert left_mib("kept") > 24
    assert left_mib("given back") < 8


def test_what_the_start_has_built_is_gathered_in_huge_pages(tmp_path: Path) -> None:
    if not Path("/sys/kernel/mm/transparent_hugepage").exists() or kernel() < (6, 1):
        pytest.skip("this kernel cannot gather pages")
    assert gathered("/proc/self/maps") >= 64 * MIB
    # Where the system shows no such thing, nothing is done.
    assert gathered(str(tmp_path / "maps")) == 0
