"""One round of measuring a server: every figure by its name. What figures of several rounds have in common."""

import asyncio
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from tests.bench import load
from tests.bench.load import CHUNKS, HELD_CHUNKS, Target, percentile
from tests.bench.processes import cpu_of, resident_of

# Seconds of looking at a server that nobody asks.
REST_S = 5.0
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Args:
        rounds: Of each server, in turns with the others.
        requests: In each round, for each number of clients.
        clients: How many ask at once.
        seconds: Of each rate that is tried; 0 tries none.
        streams: How many are read at once, each as fast as it comes.
        held: How many slow streams are open at once; 0 opens none.

    """

    rounds: int = 5
    requests: int = 1024
    clients: Sequence[int] = (1, 16, 64, 256)
    seconds: float = 3.0
    streams: int = 16
    held: int = 500


SHORT = Extent(rounds=1, requests=192, clients=(1, 16), seconds=0, held=50)


async def measure(
    target: Target, direct: Target, processes: Mapping[str, psutil.Process], extent: Extent
) -> dict[str, float]:
    """One round of one server beside the provider alone, in the same minute."""
    found = await _at_rest(processes)
    peak = found["MiB at rest"]
    for clients in extent.clients:
        alone = await load.ask(direct, clients, extent.requests)
        before, began = cpu_of(processes), time.perf_counter()
        ours = await load.ask(target, clients, extent.requests)
        took = time.perf_counter() - began
        peak = max(peak, resident_of(processes))
        answered = len(ours.answered)
        found |= _spent(f"{clients} CPU", before, cpu_of(processes), answered)
        found[f"{clients} rate"] = answered / took
        found[f"{clients} failed"] = ours.share_failed
        for name, share in PERCENTILES.items():
            whole = percentile(ours.answered, share)
            found[f"{clients} {name}"] = whole
            found[f"{clients} added {name}"] = whole - percentile(alone.answered, share)
    if extent.seconds:
        most = max(found[f"{clients} rate"] for clients in extent.clients)
        found["highest rate"] = await load.highest_rate(target, direct, most, extent.seconds)
    alone = await load.stream(direct, direct.drips, CHUNKS, extent.streams)
    before = cpu_of(processes)
    ours = await load.stream(target, target.drips, CHUNKS, extent.streams)
    found |= _spent("chunk CPU", before, cpu_of(processes), len(ours.answered) * CHUNKS)
    found["streams failed"] = ours.share_failed
    found["first added"] = ours.median - alone.median
    if extent.held:
        began, before = time.perf_counter(), cpu_of(processes)
        ours = await load.stream(target, target.trickles, HELD_CHUNKS, extent.held)
        found["held"] = len(ours.answered)
        found["held CPU"] = sum(_spent("", before, cpu_of(processes), time.perf_counter() - began).values())
        peak = max(peak, resident_of(processes))
    found["MiB under load"] = peak
    await asyncio.sleep(REST_S)
    found["MiB after"] = resident_of(processes)
    return found


def median(rounds: Sequence[Mapping[str, float]], name: str) -> float:
    """The median of a figure over all rounds."""
    return statistics.median(one[name] for one in rounds)


def shown(rounds: Sequence[Mapping[str, float]], *names: str, digits: int = 1) -> str:
    """The median of a sum of figures, with the lowest and the highest in brackets."""
    values = [sum(one[name] for name in names) for one in rounds]
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def parts(rounds: Sequence[Mapping[str, float]], what: str) -> list[str]:
    """The names of a figure that each process has for itself."""
    return [name for name in rounds[0] if name.startswith(f"{what} ")]


async def _at_rest(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    before = cpu_of(processes)
    await asyncio.sleep(REST_S)
    return {
        **_spent("rest CPU", before, cpu_of(processes), REST_S),
        "MiB at rest": resident_of(processes),
    }


def _spent(
    what: str, before: Mapping[str, float], after: Mapping[str, float], among: float
) -> dict[str, float]:
    """What each process used, divided; infinite among nothing, which a run without answers comes to."""
    return {
        f"{what} {name}": (ms - before[name]) / among if among else math.inf for name, ms in after.items()
    }
