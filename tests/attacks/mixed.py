"""All attacks in turn beside honest clients, and what became of those, of memory, and of every bill."""

import asyncio
import importlib
import itertools
import os
import pkgutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import psutil

import tests.attacks
from tests.attacks import clients, target
from tests.attacks.clients import Request
from tests.attacks.target import Target
from tests.faults.audit import Audit, audit

# The longest turn of one script, in seconds, and how much longer it may take before it is ended without a result: one
# that hangs, for a busy machine takes a third of it.
TURN_S = 60.0
OVERTIME_S = 400.0
# How much longer honest requests may take under attack, and how much larger a process may be after it.
SLOWER, LARGER = 2.0, 1.1


def scripts() -> list[ModuleType]:
    """The modules of this folder that keep the contract of a script, by name."""
    names = [f"{tests.attacks.__name__}.{one.name}" for one in pkgutil.iter_modules(tests.attacks.__path__)]
    # This package's entry point runs when it is imported.
    modules = [
        importlib.import_module(name) for name in names if not name.endswith(("__main__", ".test_attacks"))
    ]
    return [module for module in modules if hasattr(module, "NAME")]


@dataclass
class Report:
    """What was seen; no problems is what we want."""

    alone: list[Request] = field(default_factory=list)
    attacked: list[Request] = field(default_factory=list)
    # Resident MiB of each process before and after.
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    # By script: what held, the newest run's words, and what did not.
    held: dict[str, list[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    bills: Audit = field(default_factory=Audit)

    @property
    def wrong(self) -> list[str]:
        """What did not hold whatever the machine: an attack, an honest client's request, a bill."""
        failed = [
            f"an honest request ended with {one.ending}" for one in self.alone + self.attacked if one.failed
        ]
        return [*self.broken, *failed, *self.bills.problems]

    @property
    def slow_or_large(self) -> list[str]:
        """What a long run on a quiet machine must not show: slower honest clients, and processes that grew."""
        before, after = clients.p99(self.alone), clients.p99(self.attacked)
        grown = [
            f"{name} grew from {start:.0f} to {end:.0f} MiB"
            for name, (start, end) in self.memory.items()
            if end > LARGER * start
        ]
        slower = f"99 % of honest requests took {after:.0f} ms under attack, {before:.0f} before"
        return [slower, *grown] if after > SLOWER * before else grown


async def run(
    folder: Path, seconds: float, attacks: Sequence[ModuleType], *, alone_s: float, yields: bool = False
) -> Report:
    """Run the scripts in turn for so many seconds, after `alone_s` of the honest clients alone.

    An attacker who `yields` leaves the processors of this machine to what he attacks and to the honest clients, as one
    with a machine of his own does; this process keeps the low priority.
    """
    report = Report()
    async with target.running(folder) as (whole, cluster):
        async with clients.running(whole) as honest:
            await asyncio.sleep(alone_s)
            before = _resident(whole)
            if yields:
                os.nice(19)
            began = time.monotonic()
            await _attack(whole, report, attacks, seconds)
            seen = await honest.finish()
        report.bills = await audit(cluster)
        after = _resident(whole)
    report.memory = {name: (before[name], after[name]) for name in before}
    report.alone = [one for one in seen if one.began < began]
    report.attacked = [one for one in seen if one.began >= began]
    return report


async def _attack(whole: Target, report: Report, attacks: Sequence[ModuleType], seconds: float) -> None:
    ends = time.monotonic() + seconds
    turn = min(TURN_S, seconds / len(attacks))
    for turns, script in enumerate(itertools.cycle(attacks)):
        # Each has one turn at least.
        if turns >= len(attacks) and time.monotonic() >= ends:
            return
        try:
            async with asyncio.timeout(turn + OVERTIME_S):
                report.held[script.NAME] = await script.attack(whole, seconds=turn)
        except Exception as error:  # noqa: BLE001  (whatever it is, the other scripts have their turns)
            report.broken.append(f"{script.NAME}: {_text(error)}")


def _text(error: BaseException) -> str:
    """The first cause, of a group too."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error)[:500]}"


def _resident(whole: Target) -> dict[str, float]:
    """MiB of each process, children included."""
    found = {}
    for name, pid in whole.pids.items():
        process = psutil.Process(pid)
        family = (process, *process.children(recursive=True))
        found[name] = sum(one.memory_info().rss for one in family) / 2**20
    return found
