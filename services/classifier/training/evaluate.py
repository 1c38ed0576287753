"""Measure committed weights.

    python -m services.classifier.training.evaluate [--part development] [--weights FILE] [--data FOLDER] [--plot FILE]

On a part of the corpus: the tier by level, category and language beside what length alone tells, pairs in order, the
categories, calibration, how many tiers change when a request is put otherwise, and time. With `--data` also routing
quality on the development halves of RouteLLM's data, beside prompt length and random. The test part is for the table of
the model card: whoever looks at it while choosing has none left.
"""

import argparse
import gc
import random
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.classifier import heads
from services.classifier.classify import Classification, Classifier
from services.classifier.embedding import Embedder
from services.classifier.features import INDEX
from services.classifier.heads import CATEGORIES, COMMITTED, SUBJECTS
from services.classifier.reading import Turn, read
from services.classifier.training import corpus, outcomes, variants
from services.classifier.training.corpus import LEVELS, Request
from services.classifier.training.data import DEVELOPMENT, check, rows
from services.classifier.training.holdout import held_out
from services.classifier.training.metrics import (
    Routing,
    Vector,
    bootstrap,
    calibration_error,
    in_order,
    recovered,
    routing,
)
from services.classifier.training.train import reading

# Published by RouteLLM, on the whole sets: APGR on MMLU and GSM8K.
ANCHORS = {
    "random": (0.500, 0.497),
    "prompt length": (0.586, 0.598),
    "similarity-weighted ranking": (0.603, 0.568),
    "matrix factorization": (0.597, 0.565),
    "BERT": (0.572, 0.531),
    "causal LLM, 8 billion": (0.600, 0.622),
}
# A language with fewer requests is told with the others only.
LEAST_REQUESTS = 20


def main() -> None:
    """Print every measurement as tables in Markdown."""
    parser = argparse.ArgumentParser(description="Measure the classifier's weights.")
    parser.add_argument("--part", choices=corpus.PARTS, default="development", help="part of the corpus")
    parser.add_argument("--data", type=Path, help="folder of routing data with dev/ (docs/data.md)")
    parser.add_argument("--weights", type=Path, default=COMMITTED / "v1.npz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--plot", type=Path, help="file of the plot, .svg or .png (needs matplotlib and --data)"
    )
    options = parser.parse_args()
    embedder = Embedder()
    classifier = Classifier(heads.load(options.weights), embedder)
    requests = corpus.load(options.part)
    found = classifier.classify([reading(request) for request in requests])
    tiers(requests, found)
    categories(requests, found)
    robustness(classifier, requests, found, options.seed)
    speed(classifier.weights, requests, embedder)
    if options.data:
        check(options.data)
        curves = routing_quality(classifier, options.data, embedder, options.seed)
        if options.plot:
            draw(curves, options.plot)


def tiers(requests: Sequence[Request], found: Sequence[Classification]) -> None:
    """Print how many tiers are right, by level, category and language, beside length alone."""
    said = np.array([one.powerful for one in found])
    score = np.array([one.strong_win_rate for one in found])
    levels = np.array([request.level for request in requests])
    chars = np.array([sum(len(text) for _, text in request.turns) for request in requests], float)
    right = said == (levels >= 3)
    table(("requests", "n", "tier right", "length alone", "two levels apart in order", "length alone"))
    groups = [("all", np.ones(len(requests), bool))]
    groups += [(name, np.array([request.category == name for request in requests])) for name in CATEGORIES]
    languages = sorted({request.language for request in requests})
    groups += [(name, np.array([request.language == name for request in requests])) for name in languages]
    groups.append(("other than en", np.array([request.language != "en" for request in requests])))
    for name, of in groups:
        if of.sum() >= LEAST_REQUESTS:
            kept = [request for request, own in zip(requests, of, strict=True) if own]
            table(
                (
                    name, of.sum(), percent(right[of]), f"{corpus.length_alone(kept):.0%}",
                    f"{in_order(score[of], levels[of]):.1%}", f"{in_order(chars[of], levels[of]):.0%}",
                )
            )  # fmt: skip
    longest = sorted(zip(chars, levels >= 3, strict=True))
    best = max(
        range(len(longest) + 1), key=lambda at: sum(t == (n >= at) for n, (_, t) in enumerate(longest))
    )
    bound = longest[best][0] if best < len(longest) else np.inf
    table(())
    table(("level", "called powerful", "by length alone"))
    for level in LEVELS:
        of = levels == level
        table((level, percent(said[of]), percent(chars[of] >= bound)))
    table(("calibration error", f"{calibration_error(score, (levels >= 3).astype(float)):.3f}"))


def categories(requests: Sequence[Request], found: Sequence[Classification]) -> None:
    """Print how many categories are right, and what the others are taken for."""
    pairs = [(request.category, one.category) for request, one in zip(requests, found, strict=True)]
    table(())
    table(("category", "found", "mostly taken for"))
    for name in CATEGORIES:
        said = [other for own, other in pairs if own == name]
        wrong = sorted({other for other in said if other != name}, key=lambda o: -said.count(o))[:2]
        table((name, percent([other == name for other in said]), ", ".join(wrong)))
    table(("all", percent([own == said for own, said in pairs]), ""))
    english = [
        own == said for request, (own, said) in zip(requests, pairs, strict=True) if request.language == "en"
    ]
    table(("English", percent(english), ""))


def robustness(
    classifier: Classifier, requests: Sequence[Request], found: Sequence[Classification], seed: int
) -> None:
    """Print how many tiers change when the same is asked otherwise."""
    table(())
    table(("the same request with", "tier changes", "from fast to powerful"))
    for name, variant in variants.MEASURED.items():
        draw = random.Random(seed)
        texts = [variant(request.text, request.language, draw) for request in requests]
        other = classifier.classify([reading(*pair) for pair in zip(requests, texts, strict=True)])
        pairs = list(zip(found, other, strict=True))
        changed = [old.powerful != new.powerful for old, new in pairs]
        table((name, percent(changed), percent([new.powerful and not old.powerful for old, new in pairs])))
    translated = corpus.translations()
    pairs = [
        (old, classifier.classify([reading(request, translated[request.id])])[0])
        for request, old in zip(requests, found, strict=True)
        if request.id in translated
    ]
    if pairs:
        changed = [old.powerful != new.powerful for old, new in pairs]
        risen = [new.powerful and not old.powerful for old, new in pairs]
        table((f"its translation, of {len(pairs)}", percent(changed), percent(risen)))


def speed(weights: heads.Heads, requests: Sequence[Request], embedder: Embedder) -> None:
    """Print the CPU time to classify a request that was never seen before, alone and in a batch of 64."""
    readings = [reading(request) for request in requests]
    half = len(readings) // 2
    classifier = Classifier(weights, embedder)
    classifier.classify(readings[half:])  # the words of the languages are known by then
    # What the evaluation itself keeps in memory is no part of serving.
    gc.collect()
    gc.freeze()
    alone = []
    for request in requests[:half]:
        began = time.process_time_ns()
        classifier.classify([reading(request)])
        alone.append(time.process_time_ns() - began)
    fresh = Classifier(weights, embedder)
    fresh.classify(readings[half:])
    began = time.process_time_ns()
    for start in range(0, half, 64):
        fresh.classify([reading(request) for request in requests[start : min(half, start + 64)]])
    batch = (time.process_time_ns() - began) / half
    table(())
    table(("CPU microseconds a request", "median", "p99"))
    table(("alone", f"{np.median(alone) / 1000:.0f}", f"{np.percentile(alone, 99) / 1000:.0f}"))
    table(("in batches of 64", f"{batch / 1000:.0f}", ""))


def routing_quality(
    classifier: Classifier, data: Path, embedder: Embedder, seed: int
) -> dict[str, dict[str, Vector]]:
    """Print APGR, CPT and calibration of each development half; return the curves."""
    curves: dict[str, dict[str, Vector]] = {}
    table(())
    table(("prompts", "ranking", "n", "APGR", "CPT50", "CPT80"))
    for name, file in DEVELOPMENT.items():
        found = rows(data / file)
        weak = np.array([float(row["weak_correct"]) for row in found])
        strong = np.array([float(row["strong_correct"]) for row in found])
        seen = outcomes.seen([row["prompt"] for row in found], embedder)
        rankings = {
            "Lumni": classifier.judgement(seen).score.astype(float),
            "prompt length": np.array([one.features[INDEX["chars"]] for one in seen], float),
            "random": np.random.default_rng(seed).random(len(found)),
        }
        curves[name] = {ranking: recovered(values, weak, strong) for ranking, values in rankings.items()}
        for ranking, values in rankings.items():
            report(name, ranking, values, weak, strong, seed)
        if name == "MMLU":
            # One subject is a fifth of the prompts, and its are the longest.
            rest = np.array([row["subject"] != "professional_law" for row in found])
            for ranking in ("Lumni", "prompt length"):
                report("MMLU without law", ranking, rankings[ranking][rest], weak[rest], strong[rest], seed)
    for ranking, (mmlu, gsm) in ANCHORS.items():
        table((f"published, whole sets: {ranking}", "", "", f"MMLU {mmlu:.3f}, GSM8K {gsm:.3f}", "", ""))
    subject_accuracy(classifier, data)
    return curves


def report(name: str, ranking: str, values: Vector, weak: Vector, strong: Vector, seed: int) -> None:
    """Print one row: a ranking's quality with the 95 % interval of its APGR."""
    found: Routing = routing(values, weak, strong)
    low, high = bootstrap(
        lambda draw: routing(values[draw], weak[draw], strong[draw]).apgr, len(values), seed
    )
    interval = f"{found.apgr:.3f} ({low:.3f} to {high:.3f})"
    table((name, ranking, len(values), interval, f"{found.cpt50:.3f}", f"{found.cpt80:.3f}"))


def subject_accuracy(classifier: Classifier, data: Path) -> None:
    """Print how many subjects are right of MMLU-Pro's held-out questions, and how many have one named at all."""
    table(())
    kept = [row for row in rows(data / "train" / "mmlu_pro_correctness.csv.gz") if held_out(row["question"])]
    found = classifier.classify([read([Turn("user", row["question"])]) for row in kept])
    named = [(row["category"], one.subject) for row, one in zip(kept, found, strict=True) if one.subject]
    table(("subject named", "right of those", "subjects"))
    table(
        (
            percent([bool(one.subject) for one in found]),
            percent([own == said for own, said in named]),
            len(SUBJECTS),
        )
    )


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


def percent(values: Sequence[bool] | NDArray[np.bool_]) -> str:
    """The share of true values."""
    return f"{np.mean(values):.1%}"


def table(cells: Iterable[object]) -> None:
    """Print one row of a table."""
    row = " | ".join(map(str, cells))
    sys.stdout.write(f"| {row} |\n" if row else "\n")


if __name__ == "__main__":
    main()
