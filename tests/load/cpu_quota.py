"""A limit of the CPU time of processes, by control groups of Linux (version 2, else version 1)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

UNIFIED = Path("/sys/fs/cgroup")
SEPARATE = UNIFIED / "cpu"
# Of an allowance, in microseconds; short, so that a process that has used its own does not stand still for long.
PERIOD_US = 20_000


class NotAllowed(Exception):
    """Control groups cannot be made here; the message says why."""


@contextmanager
def limited(name: str, pids: Sequence[int], cores: float) -> Iterator[None]:
    """Let each of these processes use so much of a core, each in a group of its own, until the block ends.

    Raises:
        NotAllowed: why not.
    """
    unified = (UNIFIED / "cgroup.controllers").exists()
    root = UNIFIED if unified else SEPARATE
    groups = [root / f"{name}-{pid}" for pid in pids]
    quota = round(cores * PERIOD_US)
    try:
        try:
            for group, pid in zip(groups, pids, strict=True):
                group.mkdir()
                if unified:
                    (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
                else:
                    (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                    (group / "cpu.cfs_quota_us").write_text(str(quota))
                (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise NotAllowed(f"control groups with a CPU controller below {root}: {error.strerror}") from None
        yield
    finally:
        for group, pid in zip(groups, pids, strict=True):
            if group.exists():
                # A group that has processes cannot be removed; one that has ended is in none.
                if Path(f"/proc/{pid}").exists():
                    (root / "cgroup.procs").write_text(str(pid))
                group.rmdir()
