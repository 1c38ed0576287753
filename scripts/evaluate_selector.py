"""Quality against cost of the whole chain, classify and select, on prompts that nothing was trained on.

    .venv/bin/python scripts/evaluate_selector.py --data ../shared/data/routing --images docs/images

For each held-out prompt it is known which models answer it correctly. The classifier reads the prompt, the selector
ranks a fleet of just these models by the committed catalog, and the first candidate's correctness and cost count.
Every operating point is one powerful_share. Prints the tables of docs/routing.md and writes its plot.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.chassis import prices
from services.chassis.deployments import Deployment, Fleet
from services.chassis.eligibility import Policy, Requirements
from services.chassis.measured_scores import Scores
from services.chassis.prices import Price, Row, rates_of
from services.classifier import heads
from services.classifier.classify import Classifier
from services.classifier.embedding import Embedder
from services.classifier.reading import Turn, read
from services.classifier.training.holdout import held_out
from services.selector.live import snapshot
from services.selector.models import catalog
from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.options import Options
from services.selector.ranking.select import Preferences, Selector, Task

# US dollars per 1,000 requests, and the share answered correctly.
Point: TypeAlias = tuple[float, float]

Array = NDArray[np.float64]

# Tokens of an answer; the data has no lengths. Worked answers of these benchmarks are about so long.
ANSWER_TOKENS = 300
# Of the best single model's quality, how much is to be reached.
ENOUGH = 0.95
# So often the prompts are drawn anew, for the intervals.
DRAWS = 1000
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Model:
    """A column of the data: its name in the catalog, and whose list price it is charged at."""

    column: str
    name: str
    provider: str
    listed: str


FIREWORKS = "accounts/fireworks/models/"
NEMOTRON = "nvidia/Llama-3.3-Nemotron-Super-49B-v1.5"
# Only models that one can chat with. Prices are today's; where a model is no longer sold, or never was, the nearest
# one's: `listed` says which.
MMLU_PRO = (
    Model("gemini-1.5-pro-002", "gemini-1.5-pro", "gemini", "gemini-2.5-pro"),
    Model("gemini-1.5-flash-002", "gemini-1.5-flash", "gemini", "gemini-2.5-flash"),
    Model("DeepSeek-Coder-V2", "deepseek-coder-v2", "fireworks_ai", FIREWORKS + "deepseek-coder-v2-instruct"),
    Model(
        "Meta-Llama-3_1-70B-Instruct", "llama-3.1-70b", "deepinfra", "meta-llama/Meta-Llama-3.1-70B-Instruct"
    ),
    Model("Meta-Llama-3_1-8B-Instruct", "llama-3.1-8b", "deepinfra", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    Model("jamba-1.5-large", "jamba-1.5-large", "ai21", "jamba-1.5-large"),
    Model("Qwen1.5-72B-Chat", "qwen1.5-72b-chat", "fireworks_ai", FIREWORKS + "qwen1p5-72b-chat"),
    Model("Qwen1.5-7B-Chat", "qwen1.5-7b-chat", "together_ai", "Qwen/Qwen2.5-7B-Instruct-Turbo"),
    Model(
        "Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b", "together_ai", "mistralai/Mixtral-8x7B-Instruct-v0.1"
    ),
    Model(
        "Mistral-7B-Instruct-v0.2", "mistral-7b-v0.2", "fireworks_ai", FIREWORKS + "mistral-7b-instruct-v0p2"
    ),
    Model("c4ai-command-r-v01", "command-r", "cohere_chat", "command-r-08-2024"),
    Model("Phi-3-mini-4k-instruct", "phi-3-mini-4k", "azure_ai", "Phi-3-mini-4k-instruct"),
)
# The data's README says that the scores of llama3-chatqa and qwen2.5-7b look broken: they are left out.
LLM_ROUTER = (
    Model("llama-3.3-nemotron-super-49b-v1", "llama-3.3-nemotron-super-49b", "deepinfra", NEMOTRON),
    Model("llama-3.1-nemotron-51b-instruct", "llama-3.1-nemotron-51b", "deepinfra", NEMOTRON),
    Model("llama-3.1-8b-instruct", "llama-3.1-8b", "deepinfra", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    Model("gemma-2-9b-it", "gemma-2-9b", "vercel_ai_gateway", "google/gemma-2-9b"),
    Model("mistral-7b-instruct-v0.3", "mistral-7b-v0.3", "together_ai", "mistralai/Mistral-7B-Instruct-v0.3"),
    Model("codegemma-7b", "codegemma-7b", "fireworks_ai", FIREWORKS + "codegemma-7b"),
)


@dataclass(frozen=True)
class Outcomes:
    """Held-out prompts, and for each model whether it was right and what it cost, in US dollars."""

    name: str
    prompts: list[str]
    prompt_tokens: list[int]
    models: tuple[Model, ...]
    correct: Array
    cost: Array
    prices: list[Price]


def rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@dataclass(frozen=True)
class Judged:
    """What the classifier said of each prompt."""

    rates: Array
    categories: list[str]


def outcomes(name: str, path: Path, models: tuple[Model, ...], *, held: bool = True) -> Outcomes:
    """The held-out prompts of a file, or those that are not."""
    prompts, correct = [], []
    for row in rows(path):
        if held_out(row["question"]) is held and all(row[model.column] for model in models):
            # What a user would send: the question with its choices, where it has any.
            prompts.append("\n".join(filter(None, (row["question"], row.get("options", "")))))
            correct.append([float(row[model.column]) for model in models])
    tokens = [max(1, len(prompt) // 4) for prompt in prompts]
    found = [price_of(model) for model in models]
    cost = np.array([[exact(price, count) for price in found] for count in tokens])
    return Outcomes(name, prompts, tokens, models, np.array(correct), cost, found)


def exact(price: Price, prompt_tokens: int) -> float:
    return (prompt_tokens * price.rates.input + ANSWER_TOKENS * price.rates.output) / 1e15


def price_of(model: Model) -> Price:
    listing = prices.listing(model.provider, model.listed)
    if listing is None:
        raise SystemExit(
            f"{model.provider}/{model.listed} has no list price any more: name the nearest model"
        )
    rates = listing.price.rates
    return Price((Row("", 0, rates_of({"input": rates.input, "output": rates.output})),))


def classified(data: Outcomes, classifier: Classifier) -> Judged:
    judged = [classifier.classify([read([Turn("user", prompt)])])[0] for prompt in data.prompts]
    return Judged(
        np.array([one.strong_win_rate for one in judged]), [one.category.replace(" ", "_") for one in judged]
    )


published = cache(catalog.load)


def chain(
    data: Outcomes,
    judged: Judged,
    options: Options,
    measured: Scores | None = None,
    asked: Sequence[int] | None = None,
) -> dict[float, Array]:
    """For each share of powerful requests, which model the chain sends each prompt to.

    Args:
        data: The prompts.
        judged: What the classifier said of them.
        options: The selector's section of `lumni.yaml`.
        measured: What was measured, as `lumni evaluate` writes it.
        asked: Which prompts are asked; all when left out.
    """
    known = published()
    deployments = tuple(
        Deployment(
            id=model.name, model=model.name, provider=model.provider, litellm_model=model.name, price=price
        )
        for model, price in zip(data.models, data.prices, strict=True)
    )
    selector = Selector(DeploymentTable(Fleet(deployments), known, options, measured), known)
    moment = snapshot.unknown(selector.table)
    places = range(len(data.prompts)) if asked is None else asked
    rates = judged.rates[list(places)]
    # With nothing else under way a selection depends on these alone.
    chosen: dict[tuple[str, int, bool], int] = {}
    for place in places:
        for powerful in (False, True):
            key = judged.categories[place], data.prompt_tokens[place], powerful
            if key not in chosen:
                selection = selector.select(
                    Task(key[0], powerful),
                    Requirements(prompt_tokens=key[1], output_tokens=ANSWER_TOKENS),
                    Policy(),
                    Preferences(seed=str(place)),
                    moment,
                )
                chosen[key] = selection.candidates[0].index
    fast, strong = (
        np.array(
            [chosen[judged.categories[place], data.prompt_tokens[place], tier] for place in places],
            dtype=np.float64,
        )
        for tier in (False, True)
    )
    return {
        share: np.where(rates >= (np.quantile(rates, 1 - share) if share else np.inf), strong, fast)
        for share in SHARES
    }


def point(data: Outcomes, sent: Array) -> Point:
    """Mean cost of a thousand requests in US dollars, and the share answered correctly."""
    places = np.arange(len(data.prompts)), sent.astype(np.intp)
    return float(data.cost[places].mean() * 1000), float(data.correct[places].mean())


def oracle(data: Outcomes) -> Point:
    """The cheapest model that is right; the cheapest of all where none is."""
    cost = np.where(data.correct > 0, data.cost, np.inf)
    best = np.where(np.isfinite(cost).any(axis=1), cost.argmin(axis=1), data.cost.argmin(axis=1))
    return point(data, best.astype(np.float64))


def hull(points: Sequence[Point]) -> list[Point]:
    """The non-decreasing convex hull from above: what mixing the points can reach."""
    kept: list[Point] = []
    for cost, quality in sorted(points):
        if kept and quality <= kept[-1][1]:
            continue
        while len(kept) >= 2 and _slope(kept[-2], kept[-1]) <= _slope(kept[-2], (cost, quality)):
            kept.pop()
        if kept and cost == kept[-1][0]:
            kept.pop()
        kept.append((cost, quality))
    return kept


def _slope(left: Point, right: Point) -> float:
    return (right[1] - left[1]) / max(right[0] - left[0], 1e-12)


def aiq(points: Sequence[Point], low: float, high: float) -> float:
    """Average improvement in quality (RouterBench): the mean height of the hull from the cheapest to the dearest."""
    kept = hull(points)
    costs = np.linspace(low, high, 2000)
    heights = np.interp(costs, [cost for cost, _ in kept], [quality for _, quality in kept], left=0.0)
    return float(heights.mean())


def cheapest_at(points: Sequence[Point], quality: float) -> float:
    """The least cost at which a curve, mixing neighbours, reaches a quality; infinite when it never does."""
    kept = hull(points)
    if kept[-1][1] < quality:
        return float("inf")
    return float(np.interp(quality, [q for _, q in kept], [c for c, _ in kept]))


def savings(points: Sequence[Point], best: Point) -> float:
    """The share of the best single model's cost that a curve saves where it is good enough; 0 where it never is."""
    return 1 - min(best[0], cheapest_at(points, ENOUGH * best[1])) / best[0]


def interval(data: Outcomes, sent: Sequence[Array]) -> tuple[float, float]:
    """Between which savings a strategy lies for 95 % of prompts drawn anew, the best model chosen anew each time."""
    rng = np.random.default_rng(1)
    places = np.arange(len(data.prompts))
    cost = np.array([data.cost[places, one.astype(np.intp)] for one in sent])
    correct = np.array([data.correct[places, one.astype(np.intp)] for one in sent])
    found = []
    for _ in range(DRAWS):
        drawn = rng.choice(places, len(places))
        best = int(data.correct[drawn].mean(axis=0).argmax())
        points = zip(cost[:, drawn].mean(axis=1) * 1000, correct[:, drawn].mean(axis=1), strict=True)
        single = data.cost[drawn, best].mean() * 1000, data.correct[drawn, best].mean()
        found.append(savings([(float(c), float(q)) for c, q in points], (float(single[0]), float(single[1]))))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def report(data: Outcomes, classifier: Classifier, axis: Any) -> None:
    singles = [point(data, np.full(len(data.prompts), i, dtype=np.float64)) for i in range(len(data.models))]
    random = (float(data.cost.mean() * 1000), float(data.correct.mean()))
    best = max(singles, key=lambda single: single[1])
    cheapest = min(singles)
    dearest = max(singles)
    judged = classified(data, classifier)
    chains = {
        strategy: chain(data, judged, Options(default_strategy=strategy))
        for strategy in ("balanced", "quality", "cost")
    }
    curves = {
        strategy: {share: point(data, sent) for share, sent in chosen.items()}
        for strategy, chosen in chains.items()
    }
    print(f"\n## {data.name}: {len(data.prompts)} held-out prompts, {len(data.models)} models\n")
    print("| model | charged as | USD per 1,000 | correct |\n| --- | --- | --- | --- |")
    for model, (cost, quality) in sorted(
        zip(data.models, singles, strict=True), key=lambda pair: -pair[1][1]
    ):
        print(f"| {model.column} | {model.provider}: {model.listed} | {cost:.4f} | {quality:.1%} |")
    print("\n| | USD per 1,000 | correct |\n| --- | --- | --- |")
    for name, (cost, quality) in (
        ("best single model", best),
        ("cheapest single model", cheapest),
        ("random", random),
        ("oracle", oracle(data)),
        *(
            (f"Lumni balanced, {share:.0%} powerful", curves["balanced"][share])
            for share in (0.0, 0.2, 0.5, 1.0)
        ),
        ("Lumni quality, all powerful", curves["quality"][1.0]),
        ("Lumni cost, none powerful", curves["cost"][0.0]),
    ):
        print(f"| {name} | {cost:.4f} | {quality:.1%} |")
    target = ENOUGH * best[1]
    print(f"\n95 % of the best single model is {target:.1%}, which costs")
    low, high = cheapest[0], dearest[0]
    for name, points in (
        *((f"Lumni {strategy}", list(curve.values())) for strategy, curve in curves.items()),
        ("the best mix of single models", singles),
        ("cheapest and best at random", [cheapest, best]),
    ):
        cost = cheapest_at(points, target)
        reached = "never reached"
        if cost < float("inf"):
            reached = f"{cost:.4f} USD, {savings(points, best):.0%} saved"
            if (strategy := name.removeprefix("Lumni ")) in chains:
                least, most = interval(data, list(chains[strategy].values()))
                reached += f" ({least:.0%} to {most:.0%})"
        # Whatever routes, one can always mix it with the cheapest model.
        print(f"  {name}: {reached}; AIQ {aiq([*points, cheapest], low, high):.4f}")
    _plot(axis, data, singles, curves, oracle(data), random, target)


def _plot(
    ax: Any,
    data: Outcomes,
    singles: Sequence[Point],
    curves: Mapping[str, Mapping[Any, Point]],
    best: Point,
    random: Point,
    target: float,
) -> None:
    for model, (cost, quality) in zip(data.models, singles, strict=True):
        ax.plot(cost, quality, "o", color="#888888")
        ax.annotate(model.column, (cost, quality), fontsize=6, xytext=(3, -7), textcoords="offset points")
    for (strategy, curve), color in zip(curves.items(), ("#0b6e4f", "#7a28cb", "#d1495b"), strict=True):
        ax.plot(*zip(*curve.values(), strict=True), ".-", color=color, label=f"Lumni {strategy}")
    ax.plot(*best, "*", color="#f2a900", markersize=12, label="oracle")
    ax.plot(*random, "x", color="black", label="random")
    ax.axhline(target, color="#bbbbbb", linestyle=":", label="95 % of the best model")
    ax.set(xscale="log", xlabel="US dollars per 1,000 requests", ylabel="answered correctly", title=data.name)
    ax.legend(fontsize=7)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--data", type=Path, required=True, help="folder with train/mmlu_pro_correctness.csv.gz"
    )
    options.add_argument("--images", type=Path, default=Path("docs/images"))
    options.add_argument("--weights", type=Path, default=Path("services/classifier/weights/v1.npz"))
    chosen = options.parse_args()
    import matplotlib as mpl

    mpl.use("Agg")
    # The same picture from the same numbers, byte for byte.
    mpl.rcParams["svg.hashsalt"] = "lumni"
    from matplotlib import pyplot

    classifier = Classifier(heads.load(chosen.weights), Embedder())
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    report(
        outcomes("MMLU-Pro", chosen.data / "train" / "mmlu_pro_correctness.csv.gz", MMLU_PRO),
        classifier,
        axes[0],
    )
    report(
        outcomes(
            "LLMRouter, 11 tasks", chosen.data / "train" / "llmrouter_scores_9models.csv.gz", LLM_ROUTER
        ),
        classifier,
        axes[1],
    )
    chosen.images.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.images / "selector_quality_cost.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
