"""Measure the committed heads.

    python -m services.classifier.training.evaluate --data FOLDER

Reports routing quality on the development halves of RouteLLM's data beside prompt length and random, calibration,
category accuracy on whole sources left out of training, and time. `--plot FILE` draws quality against share.
"""

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from services.classifier import heads
from services.classifier.classify import Classifier
from services.classifier.embedding import Embedder
from services.classifier.features import INDEX
from services.classifier.heads import CATEGORIES, Array, Heads
from services.classifier.reading import Turn, read
from services.classifier.training import train
from services.classifier.training.examples import DEVELOPMENT, OWN, Example, check, labelled, rows
from services.classifier.training.metrics import (
    Routing,
    Vector,
    bootstrap,
    calibration_error,
    recovered,
    routing,
)

# Published by RouteLLM, on the whole sets: APGR on MMLU and GSM8K.
ANCHORS = {
    "random": (0.500, 0.497),
    "prompt length": (0.586, 0.598),
    "similarity-weighted ranking": (0.603, 0.568),
    "matrix factorization": (0.597, 0.565),
    "BERT": (0.572, 0.531),
    "causal LLM, 8 billion": (0.600, 0.622),
}
# The coarse kinds that category accuracy is reported for; all others are one.
COARSE = ("code", "math", "writing")
MEASURED = 3000


def main() -> None:
    """Print every measurement as tables in Markdown."""
    parser = argparse.ArgumentParser(description="Measure the classifier's heads.")
    parser.add_argument("--data", type=Path, required=True, help="folder with dev/, train/ and prompts/")
    parser.add_argument("--weights", type=Path, default=heads.COMMITTED / "v1.npz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="file of the plot, .svg or .png (needs matplotlib)")
    options = parser.parse_args()
    check(options.data)
    weights = heads.load(options.weights)
    observer = train.Observer()
    curves = routing_quality(weights, options.data, observer, options.seed)
    if options.plot:
        draw(curves, options.plot)
    examples = [example for example in labelled(options.data, options.seed) if example.category]
    category_accuracy(examples, observer.inputs([example.text for example in examples]), options.seed)
    speed(weights, options.data)


def routing_quality(
    weights: Heads, data: Path, observer: train.Observer, seed: int
) -> dict[str, dict[str, Vector]]:
    """Print APGR, CPT and calibration of each development half; return the curves."""
    curves: dict[str, dict[str, Vector]] = {}
    table(("prompts", "ranking", "n", "APGR", "CPT50", "CPT80", "calibration error"))
    for name, file in DEVELOPMENT.items():
        found = rows(data / file)
        weak = np.array([float(row["weak_correct"]) for row in found])
        strong = np.array([float(row["strong_correct"]) for row in found])
        subjects = np.array([row["subject"] for row in found])
        inputs = observer.inputs([row["prompt"] for row in found])
        score = heads.judge(weights, inputs).score.astype(float)
        rankings = {
            "Lumni": score,
            "prompt length": inputs[:, INDEX["chars"]].astype(float),
            "random": np.random.default_rng(seed).random(len(found)),
        }
        curves[name] = {ranking: recovered(values, weak, strong) for ranking, values in rankings.items()}
        wins = (strong > weak).astype(float)
        error = calibration_error(1 / (1 + np.exp(-score)), wins)
        for ranking, values in rankings.items():
            report(name, ranking, values, weak, strong, seed, f"{error:.3f}" if ranking == "Lumni" else "")
        if name == "MMLU":
            # One subject is a fifth of the prompts, and its are the longest.
            rest = subjects != "professional_law"
            for ranking in ("Lumni", "prompt length"):
                report(
                    "MMLU without law", ranking, rankings[ranking][rest], weak[rest], strong[rest], seed, ""
                )
    for ranking, (mmlu, gsm) in ANCHORS.items():
        table((f"published, whole sets: {ranking}", "", "", f"MMLU {mmlu:.3f}, GSM8K {gsm:.3f}", "", "", ""))
    return curves


def report(
    name: str, ranking: str, values: Vector, weak: Vector, strong: Vector, seed: int, error: str
) -> None:
    """Print one row: a ranking's quality with the 95 % interval of its APGR."""
    found: Routing = routing(values, weak, strong)
    low, high = bootstrap(
        lambda draw: routing(values[draw], weak[draw], strong[draw]).apgr, len(values), seed
    )
    interval = f"{found.apgr:.3f} ({low:.3f} to {high:.3f})"
    table((name, ranking, len(values), interval, f"{found.cpt50:.3f}", f"{found.cpt80:.3f}", error))


def category_accuracy(examples: Sequence[Example], seen: Array, seed: int) -> None:
    """Print the accuracy on each source of a head that was trained on all others, and what was taken for what."""
    sources = sorted({example.source for example in examples if example.source != OWN})
    confusion: Counter[tuple[str, str]] = Counter()
    right: list[bool] = []
    exact: list[bool] = []
    table(())
    table(("source left out", "prompts", "code, math, writing, other", "all 12 categories"))
    for source in sources:
        # Both parts of self-instruct were written by the same people.
        family = source.split()[0] if source.startswith("self-instruct") else source
        kept = [number for number, example in enumerate(examples) if not example.source.startswith(family)]
        tested = [number for number, example in enumerate(examples) if example.source == source]
        rest = [examples[number] for number in kept]
        mean, scale = train.reference(rest, seen[kept], np.random.default_rng(seed))
        matrix = train.categories(rest, train.standardize(seen[kept], mean, scale))
        logits = train.standardize(seen[tested], mean, scale) @ matrix[:-1] + matrix[-1]
        pairs = [
            (examples[n].category, CATEGORIES[best])
            for n, best in zip(tested, logits.argmax(axis=1), strict=True)
        ]
        coarse = [(kind(true), kind(said)) for true, said in pairs]
        confusion.update(coarse)
        hits = [true == said for true, said in coarse]
        same = [true == said for true, said in pairs]
        right += hits
        exact += same
        table((source, len(pairs), f"{np.mean(hits):.2f}", f"{np.mean(same):.2f}"))
    table(("all", len(right), f"{np.mean(right):.3f}", f"{np.mean(exact):.3f}"))
    kinds = (*COARSE, "other")
    table(())
    table(("truly \\ said", *kinds, "found"))
    for true in kinds:
        row = [confusion[true, said] for said in kinds]
        table((true, *row, f"{confusion[true, true] / sum(row):.2f}"))


def kind(category: str) -> str:
    """A coarse kind."""
    return category if category in COARSE else "other"


def speed(weights: Heads, data: Path) -> None:
    """Print the time to classify a prompt that was never seen before, alone and in a batch of 64."""
    prompts = [row["prompt"] for row in rows(data / DEVELOPMENT["MMLU"])][: 2 * MEASURED]
    readings = [read([Turn("user", prompt)]) for prompt in prompts]
    classifier = Classifier(weights, Embedder())
    classifier.classify(readings[MEASURED:])  # the words of the language are known by then
    # What the evaluation itself keeps in memory is no part of serving.
    gc.collect()
    gc.freeze()
    alone = []
    for prompt in prompts[:MEASURED]:
        began = time.process_time_ns()
        classifier.classify([read([Turn("user", prompt)])])
        alone.append(time.process_time_ns() - began)
    fresh = Classifier(weights, Embedder())
    fresh.classify(readings[MEASURED:])
    began = time.process_time_ns()
    for start in range(0, MEASURED, 64):
        fresh.classify(
            [read([Turn("user", prompt)]) for prompt in prompts[start : min(MEASURED, start + 64)]]
        )
    batch = (time.process_time_ns() - began) / MEASURED
    table(())
    table(("CPU microseconds per prompt", "median", "p99"))
    table(("alone", f"{np.median(alone) / 1000:.0f}", f"{np.percentile(alone, 99) / 1000:.0f}"))
    table(("in batches of 64", f"{batch / 1000:.0f}", ""))


def draw(curves: dict[str, dict[str, Vector]], path: Path) -> None:
    """Plot the share of the quality gap that is recovered against the share of powerful calls."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(8, 3.6), sharey=True, layout="constrained")
    for axis, (name, lines) in zip(axes, curves.items(), strict=True):
        for ranking, style in (("Lumni", "-"), ("prompt length", "--"), ("random", ":")):
            curve = lines[ranking]
            axis.plot(np.linspace(0, 1, len(curve)), curve, style, label=ranking)
        axis.set_title(name)
        axis.set_xlabel("share of powerful calls")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("quality gap recovered")
    axes[0].legend()
    figure.savefig(path, dpi=90, metadata={"Date": None} if path.suffix == ".svg" else None)


def table(cells: Iterable[object]) -> None:
    """Print one row of a table."""
    sys.stdout.write(" | ".join(map(str, cells)) + "\n")


if __name__ == "__main__":
    main()
