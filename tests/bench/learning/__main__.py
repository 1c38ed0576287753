"""Regret with and without learning from outcomes: python -m tests.bench.learning [--seeds 5] [--plot picture].

The selector that serves selects, and the code of the ledger sums, compares and says whether evidence may act. Only users
are simulated. Half way one model becomes worse, the one that today's policy chooses most. Regret is how many more answers
of 1,000 would have been liked with the best model for each category and level, known in hindsight and fixed for all days
("best fixed"), or as it is on each day ("oracle").
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from services.chassis import money
from services.chassis.eligibility import Policy, Requirements
from services.gateway.learning import comparison, evidence
from services.gateway.learning.outcomes import IMPLICIT_WEIGHT
from services.gateway.learning.sums import Choice, Outcome, summed
from services.selector.live import snapshot
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.learned import Evidence, Outcomes
from services.selector.ranking.exploration import Choice as Candidate
from services.selector.ranking.exploration import Learned, Learning
from services.selector.ranking.select import Preferences, Selector, Task
from tests.bench.learning.users import CATEGORIES, Asked, World, day_of_requests, drawn, interval, verdict
from tests.selector import fleets

DAYS, REQUESTS = 28, 800
FIRST = date(2026, 9, 1)
PUBLISHED = {"large": 84.0, "rival": 82.0, "middle": 78.0, "quick": 72.0, "small": 64.0}
PRICES = {
    "large": (5.0, 25.0),
    "rival": (3.0, 15.0),
    "middle": (1.25, 10.0),
    "quick": (0.3, 2.5),
    "small": (0.1, 0.4),
}
STRATEGY = "quality"
NEEDS = Requirements(prompt_tokens=600, output_tokens=500)


@dataclass
class Run:
    """What one policy did in one world."""

    name: str
    # Of all answers, by day: the mean probability of being liked.
    liked: list[float] = field(default_factory=list)
    explored: int = 0
    extra_nano_usd: int = 0
    cost_usd: float = 0.0
    # By day, in how many categories evidence acted.
    acting: list[int] = field(default_factory=list)


def run(
    selector: Selector, world: World, requests: Sequence[Sequence[Asked]], name: str, share: float
) -> Run:
    """All days by one policy: today's where the share is 0, else with what outcomes teach and so much exploration."""
    table, found = selector.table, Run(name)
    learned, bounds, state = LearnedEvidence(), ExplorationBounds(), snapshot.unknown(selector.table)
    days: list[evidence.Day] = []
    compared: list[comparison.Day] = []
    for day, of_day in enumerate(requests):
        truth, outcomes, liked = world.liked(day, DAYS // 2), [], []
        bounds.lease(day, money.NANO)
        for asked in of_day:
            category = CATEGORIES[asked.category]
            may = Learned(
                learned.ranking(table, category, asked.level, multilingual=False),
                asked.level,
                acts=learned.acts(category),
                share=bounds.share("", share),
                left_nano_usd=bounds.left_nano_usd(day * 86_400),
            )
            selection = selector.select(
                Task(category, powerful=asked.level == 1),
                NEEDS,
                Policy(),
                Preferences(strategy=STRATEGY, seed=asked.ident),
                state,
                1.0,
                may,
            )
            learning = selection.learning
            assert learning is not None
            first = learning.chosen.index
            found.cost_usd += (600 * table.input_price[first] + 500 * table.output_price[first]) / 1e6
            if learning.explored:
                bounds.spend("", learning.extra_nano_usd)
                found.explored += 1
                found.extra_nano_usd += learning.extra_nano_usd
            probability = float(truth[asked.category, asked.level, int(table.model_of[first])])
            liked.append(probability)
            if share and (said := verdict(asked.ident, probability, IMPLICIT_WEIGHT)) is not None:
                outcomes.append(_outcome(table, asked, learning, *said))
        found.liked.append(float(np.mean(liked)))
        found.acting.append(len(learned.evidence.acting))
        today = FIRST + timedelta(days=day)
        added, added_compared = summed(today, outcomes)
        days, compared = [*days, *added], [*compared, *added_compared]
        learned.take(_published(days, compared, today, day + 1))
    return found


def _outcome(table: DeploymentTable, asked: Asked, learning: Learning, good: bool, weight: float) -> Outcome:
    def choice(one: Candidate) -> Choice:
        return Choice(table.deployments[one.index].model, one.probability, one.quality)

    chosen, current, by_outcomes = map(choice, (learning.chosen, learning.current, learning.learned))
    kind = CATEGORIES[asked.category]
    return Outcome(asked.user, kind, asked.level, chosen, current, by_outcomes, good, weight)


def _published(
    days: list[evidence.Day], compared: list[comparison.Day], today: date, version: int
) -> Evidence:
    cells: dict[tuple[str, int], dict[str, Outcomes]] = {}
    for one in evidence.outcomes(days, today):
        cells.setdefault((one.category, one.level), {})[one.model] = Outcomes(
            one.share, one.weight, one.liked, one.counted, one.last_on.isoformat()
        )
    acting = frozenset(one.category for one in comparison.estimates(compared, today) if one.acts)
    return Evidence(version, cells, acting)


def best(world: World, days: Sequence[Sequence[Asked]]) -> tuple[float, list[float]]:
    """The share of liked answers with the best fixed model for each kind of request; and with each day's best, by day."""
    counts = np.zeros((DAYS, len(CATEGORIES), 2))
    for day, requests in enumerate(days):
        for asked in requests:
            counts[day, asked.category, asked.level] += 1
    by_day = np.array([world.liked(day, DAYS // 2) for day in range(DAYS)])
    fixed = (counts[..., None] * by_day).sum(axis=0).max(axis=-1).sum() / counts.sum()
    return float(fixed), [float((counts[d] * by_day[d].max(axis=-1)).sum() / REQUESTS) for d in range(DAYS)]


POLICIES = (("today's policy", 0.0), ("learning, 2 % explore", 0.02), ("learning, 5 % explore", 0.05))


def runs_of(seed: int) -> tuple[float, list[float], list[Run]]:
    """In the world of a seed: the best fixed policy's share of liked answers, each day's best, and every policy's run."""
    deployments = [fleets.deployment(name, dollars=PRICES[name]) for name in PUBLISHED]
    selector = fleets.selector(deployments, PUBLISHED)
    models = selector.table.models
    published = np.tile(np.array([PUBLISHED[name] for name in models]) / 100, (len(CATEGORIES), 1))
    world = drawn(models, published, seed, "large")
    days = [day_of_requests(seed, day, REQUESTS) for day in range(DAYS)]
    return *best(world, days), [run(selector, world, days, name, share) for name, share in POLICIES]


def main() -> None:
    """Print the table, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many worlds")
    parser.add_argument("--plot", type=Path, help="picture of liked answers by day")
    given = parser.parse_args()
    regrets: dict[str, dict[str, list[float]]] = {}
    curves: dict[str, list[list[float]]] = {}
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(runs_of, range(given.seeds)))
    for fixed, oracle, runs in found:
        today = runs[0].liked
        curves.setdefault("oracle", []).append(oracle)
        for one in runs:
            halves = slice(0, DAYS // 2), slice(DAYS // 2, DAYS)
            row = regrets.setdefault(one.name, {})
            values = {
                "liked of 1,000": np.mean(one.liked),
                "regret against best fixed": fixed - np.mean(one.liked),
                "regret against oracle": np.mean(oracle) - np.mean(one.liked),
                "more than today": np.mean(one.liked) - np.mean(today),
                "before the drift": np.mean(one.liked[halves[0]]) - np.mean(today[halves[0]]),
                "after the drift": np.mean(one.liked[halves[1]]) - np.mean(today[halves[1]]),
            }
            for what, value in values.items():
                row.setdefault(what, []).append(1000 * float(value))
            row.setdefault("USD per 1,000", []).append(one.cost_usd / (DAYS * REQUESTS) * 1000)
            row.setdefault("categories where it acts, last week", []).append(float(np.mean(one.acting[-7:])))
            row.setdefault("explored of 1,000", []).append(1000 * one.explored / (DAYS * REQUESTS))
            row.setdefault("most extra USD a day", []).append(one.extra_nano_usd / DAYS / money.NANO)
            curves.setdefault(one.name, []).append(one.liked)
    names = list(next(iter(regrets.values())))
    print("| policy | " + " | ".join(names) + " |")
    print("| --- |" + " --- |" * len(names))
    for policy, row in regrets.items():
        shown = [
            f"{mean:.2f} ± {half:.2f}" if what.startswith(("USD", "most")) else f"{mean:.1f} ± {half:.1f}"
            for what in names
            for mean, half in [interval(row[what])]
        ]
        print(f"| {policy} | " + " | ".join(shown) + " |")
    if given.plot:
        draw(given.plot, {name: np.mean(rows, axis=0).tolist() for name, rows in curves.items()})


def draw(path: Path, curves: dict[str, list[float]]) -> None:
    """Liked answers by day, as SVG."""
    width, height = 640, 260
    colours = ("#888", "#c33", "#2a7", "#26c")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">'
    ]
    lines.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    values = [value for curve in curves.values() for value in curve]
    low, high = np.floor(min(values) * 50) / 50, np.ceil(max(values) * 50) / 50

    def place(day: float, value: float) -> tuple[float, float]:
        return 40 + day / (DAYS - 1) * 420, 20 + (high - value) / (high - low) * 200

    for tick in np.arange(low, high + 0.001, 0.02):
        _, y = place(0, tick)
        lines.append(f'<line x1="40" x2="460" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        lines.append(f'<text x="34" y="{y + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
    x, _ = place(DAYS // 2, low)
    lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="220" stroke="#aaa" stroke-dasharray="4"/>')
    lines.append(f'<text x="{x + 4:.1f}" y="30" fill="#666">one model gets worse</text>')
    for number, (name, curve) in enumerate(curves.items()):
        points = " ".join("{:.1f},{:.1f}".format(*place(day, value)) for day, value in enumerate(curve))
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colours[number]}" stroke-width="1.5"/>'
        )
        lines.append(f'<text x="468" y="{40 + 18 * number}" fill="{colours[number]}">{name}</text>')
    lines.append(
        f'<text x="250" y="245" text-anchor="middle">day (1 to {DAYS}); answers that users like, mean over seeds</text>'
    )
    path.write_text("\n".join([*lines, "</svg>", ""]))


if __name__ == "__main__":
    main()
