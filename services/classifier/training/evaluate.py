"""Measure committed weights.

    python -m services.classifier.training.evaluate [--part development] [--deep] [--data FOLDER] [--plot FILE]

On a part of the corpus: the tier by level, category and language beside what length alone tells, pairs in order, the
categories, calibration, how many tiers change when a request is put otherwise, and time; with `--deep` for two versions
side by side. Length is judged with one bound for all requests. With `--data` also routing
quality on the development halves of RouteLLM's data, beside prompt length and random. The test part is for the table of
the model card: whoever looks at it while choosing has none left.
"""

import argparse
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.classifier import heads
from services.classifier.classify import Classification, Classifier, deepened
from services.classifier.embedding import Embedder
from services.classifier.features import INDEX
from services.classifier.heads import CATEGORIES, COMMITTED, SUBJECTS
from services.classifier.reading import Turn, read
from services.classifier.stack import VERSION
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

# What each version says of the requests.
Found = Mapping[str, Sequence[Classification]]


def main() -> None:
    """Print every measurement as tables in Markdown."""
    parser = argparse.ArgumentParser(description="Measure the classifier's weights.")
    parser.add_argument("--part", choices=corpus.PARTS, default="development", help="part of the corpus")
    parser.add_argument("--data", type=Path, help="folder of routing data with dev/ (docs/data.md)")
    parser.add_argument("--weights", type=Path, default=COMMITTED / "v1.npz")
    parser.add_argument(
        "--deep", action="store_true", help="measure the deep version beside it (needs extra classifier-deep)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--plot", type=Path, help="file of the plot, .svg or .png (needs matplotlib and --data)"
    )
    options = parser.parse_args()
    embedder = Embedder()
    weights = heads.load(options.weights)
    makes: dict[str, Callable[[], Classifier]] = {weights.version: lambda: Classifier(weights, embedder)}
    if options.deep:
        from services.classifier.deep import Encoder

        encoder = Encoder()
        makes[VERSION] = lambda: deepened(embedder, encoder)
    classifiers = {name: make() for name, make in makes.items()}
    requests = corpus.load(options.part)
    readings = [reading(request) for request in requests]
    found = {name: classifier.classify(readings) for name, classifier in classifiers.items()}
    levels_and_kinds(requests, found)
    confusions(requests, found)
    robustness(classifiers, requests, found, options.seed)
    for name, make in makes.items():
        speed(name, make, requests)
    if options.data:
        check(options.data)
        curves = routing_quality(classifiers[weights.version], options.data, embedder, options.seed)
        if options.plot:
            draw(curves, options.plot)


def levels_and_kinds(requests: Sequence[Request], found: Found) -> None:
    """Print how many tiers and categories are right by level, category and language, beside what length alone tells."""
    levels = np.array([request.level for request in requests])
    chars = np.array([sum(len(text) for _, text in request.turns) for request in requests], float)
    by_length = chars >= longest_fast(chars, levels)
    right = {"length alone": by_length == (levels >= 3)}
    scores = {"length alone": chars}
    named = {}
    for name, own in found.items():
        right[name] = np.array([one.powerful for one in own]) == (levels >= 3)
        scores[name] = np.array([one.strong_win_rate for one in own])
        named[name] = np.array(
            [one.category == request.category for one, request in zip(own, requests, strict=True)]
        )
    head = ["requests", "n", *(f"tier right: {name}" for name in right)]
    head += [f"two levels apart in order: {name}" for name in scores]
    table([*head, *(f"category found: {name}" for name in named)])
    for name, of in groups(requests):
        one_level = len({*levels[of].tolist()}) == 1
        pairs = ["" if one_level else f"{in_order(score[of], levels[of]):.1%}" for score in scores.values()]
        tiers = [percent(own[of]) for own in right.values()]
        table([name, of.sum(), *tiers, *pairs, *(percent(own[of]) for own in named.values())])
    table(())
    table(("calibration error", *found))
    needed = (levels >= 3).astype(float)
    table(("", *(f"{calibration_error(scores[name], needed):.3f}" for name in found)))


def groups(requests: Sequence[Request]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Which requests stand in each row: all, those of a level, a category, a language."""
    languages = sorted({request.language for request in requests})
    rows = [("all", np.ones(len(requests), bool))]
    rows += [(f"level {level}", np.array([one.level == level for one in requests])) for level in LEVELS]
    rows += [(name, np.array([one.category == name for one in requests])) for name in CATEGORIES]
    rows += [(name, np.array([one.language == name for one in requests])) for name in languages]
    rows.append(("other than en", np.array([one.language != "en" for one in requests])))
    return [(name, of) for name, of in rows if of.sum() >= LEAST_REQUESTS]


def longest_fast(chars: Vector, levels: NDArray[np.int_]) -> float:
    """The length from which calling requests powerful is right most often."""
    bounds = [*np.unique(chars), np.inf]
    return float(max(bounds, key=lambda bound: ((chars >= bound) == (levels >= 3)).mean()))


def confusions(requests: Sequence[Request], found: Found) -> None:
    """Print what requests of each category are mostly taken for."""
    table(())
    table(("category", *(f"mostly taken for: {name}" for name in found)))
    for category in CATEGORIES:
        cells = []
        for own in found.values():
            wrong = Counter(
                one.category
                for one, request in zip(own, requests, strict=True)
                if request.category == category != one.category
            )
            cells.append(", ".join(name for name, _ in wrong.most_common(2)))
        table((category, *cells))


def robustness(
    classifiers: Mapping[str, Classifier], requests: Sequence[Request], found: Found, seed: int
) -> None:
    """Print how many tiers change when the same is asked otherwise, and how many of them to powerful."""
    table(())
    table(
        (
            "the same request with",
            *(f"{what}: {n}" for n in found for what in ("tier changes", "to powerful")),
        )
    )
    for name, variant in variants.MEASURED.items():
        draw = random.Random(seed)
        texts = [variant(request.text, request.language, draw) for request in requests]
        table((name, *changes(classifiers, found, range(len(requests)), requests, texts)))
    translated = {one.id: one.text for one in corpus.translated("test")}
    places = [place for place, request in enumerate(requests) if request.id in translated]
    if places:
        texts = [translated[requests[place].id] for place in places]
        table((f"its translation, of {len(places)}", *changes(classifiers, found, places, requests, texts)))


def changes(
    classifiers: Mapping[str, Classifier],
    found: Found,
    places: Sequence[int],
    requests: Sequence[Request],
    texts: Sequence[str],
) -> Iterator[str]:
    """For each version, the share of the requests at `places` whose tier changes with their texts, and to powerful."""
    readings = [reading(requests[place], text) for place, text in zip(places, texts, strict=True)]
    for name, classifier in classifiers.items():
        old = np.array([found[name][place].powerful for place in places])
        new = np.array([one.powerful for one in classifier.classify(readings)])
        yield percent(old != new)
        yield percent(new & ~old)


def speed(name: str, make: Callable[[], Classifier], requests: Sequence[Request]) -> None:
    """Print the CPU time to classify a request that was never seen before, alone and in a batch of 64."""
    readings = [reading(request) for request in requests]
    half = len(readings) // 2
    classifier = make()
    classifier.classify(readings[half:])  # the words of the languages are known by then
    # What the evaluation itself keeps in memory is no part of serving.
    gc.collect()
    gc.freeze()
    alone = []
    for request in requests[:half]:
        began = time.process_time_ns()
        classifier.classify([reading(request)])
        alone.append(time.process_time_ns() - began)
    fresh = make()
    fresh.classify(readings[half:])
    began = time.process_time_ns()
    for start in range(0, half, 64):
        fresh.classify([reading(request) for request in requests[start : min(half, start + 64)]])
    batch = (time.process_time_ns() - began) / half
    table(())
    table((f"CPU microseconds a request: {name}", "median", "mean", "p99"))
    p99 = np.percentile(alone, 99)
    table(("alone", f"{np.median(alone) / 1000:.0f}", f"{np.mean(alone) / 1000:.0f}", f"{p99 / 1000:.0f}"))
    table(("in batches of 64", "", f"{batch / 1000:.0f}", ""))


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
