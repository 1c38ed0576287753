"""A day of a student's traffic on free tiers: how much is served free, and how well.

    .venv/bin/python scripts/evaluate_free_tier.py

The same requests go through `free_first`, through first fit and round robin, and through a linear program that knows
the whole day in advance. The selector is the real one: its snapshot says what is left of each quota, and what it
lists is tried in order against exact counters, as the executor does. Prints the table of docs/routing.md.
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from services.chassis.deployments import LIMITS, Deployment, Fleet, FreeQuota
from services.chassis.eligibility import Policy, Requirements
from services.chassis.prices import Price, Row, rates_of
from services.selector.live import snapshot
from services.selector.live.snapshot import Headroom, Report
from services.selector.models import catalog
from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.options import Options
from services.selector.ranking.select import Preferences, Selector, Task

Array = NDArray[np.float64]
DAY_S = 86_400
FREE = Price((Row("", 0, rates_of({"input": 0, "output": 0})),))
# Free tiers of the size that providers give; the quality is the catalog's.
TIERS = (
    ("gemini-2.5-pro", FreeQuota(rpm=5, tpm=250_000, rpd=100)),
    ("gemini-2.5-flash", FreeQuota(rpm=10, tpm=250_000, rpd=250)),
    ("gpt-oss-120b", FreeQuota(rpm=30, tpm=8_000, rpd=1000, tpd=200_000)),
    ("gemini-2.5-flash-lite", FreeQuota(rpm=15, tpm=250_000, rpd=1000)),
    ("llama-3.3-70b", FreeQuota(rpm=30, tpm=12_000, rpd=1000, tpd=100_000)),
    ("llama-3.1-8b", FreeQuota(rpm=30, tpm=6_000, rpd=14_400, tpd=500_000)),
)
CATEGORIES = ("chat", "code", "math", "factual_question", "writing")
HARD = 0.3


@dataclass(frozen=True)
class Request:
    """One question of the day."""

    at_s: float
    tokens: int
    category: str
    hard: bool


class Counters:
    """What is used of every limit, exactly."""

    def __init__(self) -> None:
        self.used: Counter[tuple[int, str, int]] = Counter()

    def take(self, place: int, request: Request) -> bool:
        quota = TIERS[place][1]
        wanted = [
            (limit, window(limit, request.at_s), request.tokens if limit.startswith("t") else 1, total)
            for limit in LIMITS
            if (total := getattr(quota, limit))
        ]
        if any(self.used[place, limit, number] + want > total for limit, number, want, total in wanted):
            return False
        for limit, number, want, _ in wanted:
            self.used[place, limit, number] += want
        return True

    def reports(self, now_s: float) -> Iterator[Report]:
        for place, (name, quota) in enumerate(TIERS):
            yield Report(
                name,
                latency_ms=500.0,
                headroom=tuple(
                    Headroom(
                        limit,
                        total,
                        total - self.used[place, limit, window(limit, now_s)],
                        ends(limit, now_s),
                    )
                    for limit in LIMITS
                    if (total := getattr(quota, limit))
                ),
            )


def window(limit: str, at_s: float) -> int:
    return int(at_s // 60) if limit.endswith("m") else 0


def ends(limit: str, at_s: float) -> float:
    return (at_s // 60 + 1) * 60.0 if limit.endswith("m") else float(DAY_S)


def day(count: int, rng: np.random.Generator) -> list[Request]:
    """Quiet nights, a busy morning and a busier evening; every tenth request comes in a burst."""
    hours = np.arange(24)
    shape = 0.15 + np.exp(-((hours - 10.5) ** 2) / 8) + 1.3 * np.exp(-((hours - 20) ** 2) / 7)
    times = rng.choice(24, count, p=shape / shape.sum()) * 3600 + rng.uniform(0, 3600, count)
    bursts = rng.choice(times, max(1, count // 200))
    crowded = rng.random(count) < 0.1
    times[crowded] = rng.choice(bursts, crowded.sum()) + rng.uniform(0, 60, crowded.sum())
    tokens = np.clip(rng.lognormal(5.6, 0.8, count), 40, 5000)
    return [
        Request(float(min(at, DAY_S - 1)), int(size), str(rng.choice(CATEGORIES)), bool(rng.random() < HARD))
        for at, size in zip(np.sort(times), tokens, strict=True)
    ]


def selector() -> Selector:
    known = catalog.load()
    deployments = tuple(
        Deployment(id=name, model=name, provider="free", litellm_model=name, price=FREE, free_quota=quota)
        for name, quota in TIERS
    )
    fleet = Fleet(deployments)
    return Selector(DeploymentTable(fleet, known, Options(default_strategy="free_first")), known)


def lumni(chosen: Selector) -> Callable[[Request, Counters], Iterator[int]]:
    taken: list[tuple[int, snapshot.Snapshot]] = []

    def order(request: Request, counters: Counters) -> Iterator[int]:
        second = int(request.at_s)
        if not taken or taken[-1][0] != second:
            # As old as a snapshot may be.
            taken[:] = [
                (second, snapshot.merge(chosen.table, [counters.reports(request.at_s)], request.at_s))
            ]
        moment = taken[-1][1]
        if not moment.in_quota.any():
            return
        selection = chosen.select(
            Task(request.category, request.hard),
            Requirements(prompt_tokens=request.tokens // 2, output_tokens=request.tokens // 2),
            Policy(),
            Preferences(seed=str(request.at_s), now_unix_s=request.at_s),
            moment,
        )
        yield from (candidate.index for candidate in selection.candidates)

    return order


def first_fit(_request: Request, _counters: Counters) -> Iterator[int]:
    yield from range(len(TIERS))


def round_robin() -> Callable[[Request, Counters], Iterator[int]]:
    turns = itertools.count()

    def order(_request: Request, _counters: Counters) -> Iterator[int]:
        turn = next(turns)
        yield from ((turn + place) % len(TIERS) for place in range(len(TIERS)))

    return order


def play(requests: list[Request], order: Callable[[Request, Counters], Iterator[int]]) -> Array:
    """Which deployment served each request; -1 is none."""
    counters = Counters()
    return np.array(
        [
            next((place for place in order(request, counters) if counters.take(place, request)), -1)
            for request in requests
        ],
        dtype=np.float64,
    )


def optimum(requests: list[Request], quality: Array) -> tuple[float, float]:
    """The most that can be served free, and then the best mean quality of the hard ones, knowing the whole day."""
    count, places = len(requests), len(TIERS)
    columns = np.arange(count * places).reshape(count, places)
    once = csr_array((np.ones(count * places), (np.repeat(np.arange(count), places), columns.ravel())))
    blocks, bounds = [once], [np.ones(count)]
    for place, (_, quota) in enumerate(TIERS):
        for limit in LIMITS:
            total = getattr(quota, limit)
            if not total:
                continue
            windows = np.array([window(limit, request.at_s) for request in requests])
            numbers, rows = np.unique(windows, return_inverse=True)
            weights = np.array([request.tokens if limit.startswith("t") else 1.0 for request in requests])
            shape = (len(numbers), count * places)
            blocks.append(csr_array((weights, (rows, columns[:, place])), shape=shape))
            bounds.append(np.full(len(numbers), float(total)))
    matrix, upper = vstack(blocks), np.concatenate(bounds)
    served = linprog(-np.ones(count * places), A_ub=matrix, b_ub=upper, bounds=(0, 1), method="highs")
    hard = np.array([request.hard for request in requests])
    worth = (quality * hard[:, None]).ravel()
    at_least = csr_array(-np.ones((1, count * places)))
    best = linprog(
        -worth,
        A_ub=vstack([matrix, at_least]),
        b_ub=np.append(upper, served.fun * 0.9999),
        bounds=(0, 1),
        method="highs",
    )
    shares = best.x.reshape(count, places)
    return -served.fun / count, float(
        (shares * quality * hard[:, None]).sum() / max(1e-9, shares[hard].sum())
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--days", type=int, default=3)
    chosen = options.parse_args()
    real = selector()
    print("| requests a day | policy | served free | of the optimum | quality, hard | quality, all |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count in (1000, 2500, 5000):
        results: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(chosen.days):
            requests = day(count, np.random.default_rng(seed))
            hard = np.array([request.hard for request in requests])
            quality = np.array([real.table.ranking(request.category).quality for request in requests])
            for name, order in (
                ("free_first", lumni(real)),
                ("first fit", first_fit),
                ("round robin", round_robin()),
            ):
                sent = play(requests, order)
                free = sent >= 0
                got = quality[np.arange(count), sent.astype(np.intp)]
                results.setdefault(name, []).append(
                    (float(free.mean()), float(got[free & hard].mean()), float(got[free].mean()))
                )
            share, best = optimum(requests, quality)
            results.setdefault("optimum", []).append((share, best, float("nan")))
        top = np.mean([result[0] for result in results["optimum"]])
        for name, found in results.items():
            share, of_hard, of_all = np.mean(found, axis=0)
            everything = "" if np.isnan(of_all) else f"{of_all:.3f}"
            print(f"| {count} | {name} | {share:.1%} | {share / top:.1%} | {of_hard:.3f} | {everything} |")


if __name__ == "__main__":
    main()
