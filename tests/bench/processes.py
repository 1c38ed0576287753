"""CPU and memory of processes, their children included."""

from collections.abc import Mapping
from contextlib import suppress

import psutil


def cpu_ms(process: psutil.Process) -> float:
    """Milliseconds of CPU so far."""
    found = 0.0
    for one in (process, *process.children(recursive=True)):
        # Health checks come and go.
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            found += times.user + times.system
    return 1000 * found


def resident_mib(process: psutil.Process) -> float:
    """MiB of memory that are resident; what children share with their parent counts in each."""
    found = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            found += one.memory_info().rss
    return found / 2**20


def cpu_of(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Milliseconds of CPU so far by name."""
    return {name: cpu_ms(process) for name, process in processes.items()}


def resident_of(processes: Mapping[str, psutil.Process]) -> float:
    """Resident MiB of all."""
    return sum(map(resident_mib, processes.values()))
