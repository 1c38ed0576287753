"""Freed memory goes back to the system."""

import subprocess
import sys

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


def left_mib(how: str) -> float:
    command = [sys.executable, "-c", PROGRAM, how]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_large_buffers_are_given_back_when_they_are_freed() -> None:
    assert left_mib("kept") > 24
    assert left_mib("given back") < 8
