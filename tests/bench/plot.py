"""What was measured, as a picture: CPU a request and added latency over the number of clients."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from tests.bench.rounds import median, parts


def draw(found: Mapping[str, Sequence[Mapping[str, float]]], clients: Sequence[int], picture: Path) -> None:
    """Draw the medians of each server's rounds; bars reach from the lowest to the highest CPU.

    Args:
        found: Rounds by the server's name.
        clients: How many asked at once.
        picture: The file.
    """
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (cpu, latency) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, rounds in found.items():
        totals = [[sum(one[part] for part in parts(rounds, f"{n} CPU")) for one in rounds] for n in clients]
        middles = [sorted(values)[len(values) // 2] for values in totals]
        spread = (
            [middle - min(values) for middle, values in zip(middles, totals, strict=True)],
            [max(values) - middle for middle, values in zip(middles, totals, strict=True)],
        )
        line = cpu.errorbar(clients, middles, yerr=spread, marker="o", capsize=3, label=name)
        for style, share in (("-", "p50"), (":", "p99")):
            added = [median(rounds, f"{n} added {share}") for n in clients]
            latency.plot(clients, added, style, color=line[0].get_color(), label=f"{name}, {share}")
    for axis, label in ((cpu, "CPU, ms a request"), (latency, "added latency, ms")):
        axis.set_xscale("log", base=2)
        axis.set_xticks(list(clients), [str(n) for n in clients])
        axis.set_xlabel("clients")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(picture, dpi=90, metadata={"Date": None} if picture.suffix == ".svg" else None)
    pyplot.close(figure)
