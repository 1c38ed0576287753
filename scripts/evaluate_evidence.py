"""Quality against cost where a tenth of the prompts was asked beforehand, as `lumni evaluate` does.

    .venv/bin/python -m scripts.evaluate_evidence --data folder

Evidence is measured scores of all models by the code of `lumni evaluate`, read by the selector that serves. It is
each tenth of the held-out prompts in turn, judged on the other nine tenths; or a number of prompts that are not held
out, judged on those that are. What judges is halved, several times: on one half the cheapest share of powerful
requests is chosen that reaches 95 % of the best single model, and the other half judges it. Prints the tables of
docs/routing.md.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.evaluate_selector import (
    ENOUGH,
    LLM_ROUTER,
    MMLU_PRO,
    SHARES,
    Array,
    Judged,
    Outcomes,
    chain,
    classified,
    outcomes,
)
from services.chassis.measured_scores import Scores
from services.classifier import heads
from services.classifier.classify import Classifier
from services.classifier.embedding import Embedder
from services.gateway.evaluation import summary
from services.gateway.evaluation.estimates import Estimate
from services.gateway.evaluation.results import ANSWER
from services.selector.models.options import Options

Places = NDArray[np.intp]

# The prompts are divided into tenths anew so often; figures are means over all tenths, and their spread.
DIVISIONS = 2
# So often the prompts that judge are halved anew: which share one half chooses is largely chance.
HALVINGS = 10
# So often a number of prompts is drawn from those that are not held out.
DRAWS = 8
NUMBERS = (75, 150, 375, 750)
# What is tried: strategies, and how good a model must be for fast requests (`quality_floor`). The second floor was
# chosen by the tenths of prompts that are not held out (--development).
SETTINGS = (("balanced", 0.7), ("balanced", 0.9), ("quality", 0.7))
DAY = "2026-11-22"


@dataclass(frozen=True)
class Judgement:
    """What one half of the prompts said: quality and cost, each as a share of the best single model's."""

    share: float
    quality: float
    cost: float


def tenths(count: int) -> Iterator[tuple[Places, Places]]:
    """Each tenth of the prompts, and all others."""
    for division in range(DIVISIONS):
        order = np.random.default_rng(division).permutation(count)
        for part in np.array_split(order, 10):
            yield part, np.setdiff1d(order, part, assume_unique=True)


def evidence(data: Outcomes, judged: Judged, asked: Places) -> Scores:
    """What `lumni evaluate` writes after these prompts, asked by the plain design."""
    found: dict[str, dict[str, Estimate]] = {}
    rows = []
    for place in asked:
        by_model = found.setdefault(judged.categories[place], {})
        for model, grade in zip(data.models, data.correct[place], strict=True):
            by_model[model.name] = by_model.get(model.name, Estimate()) + Estimate(1, float(grade))
            rows.append(
                {"kind": ANSWER, "category": judged.categories[place], "model": model.name, "at": DAY}
            )
    return summary.scores(found, rows, {})


def judgements(
    data: Outcomes, judged: Judged, options: Options, measured: Scores | None, places: Places
) -> Iterator[Judgement]:
    """Each half of some prompts, by the share that is chosen on the other."""
    sent = chain(data, judged, options, measured, places.tolist())
    for halving in range(HALVINGS):
        order = np.random.default_rng(halving).permutation(len(places))
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        for chosen_on, judged_on in (halves, halves[::-1]):
            share = least_share(data, sent, places, chosen_on)
            yield judgement(data, sent[share], places, judged_on, share)


def least_share(data: Outcomes, sent: dict[float, Array], places: Places, half: Places) -> float:
    """The cheapest share that is good enough on some prompts; the best one where none is."""
    enough = ENOUGH * data.correct[places[half]].mean(axis=0).max()
    cost, quality = {}, {}
    for share, models in sent.items():
        taken = places[half], models[half].astype(np.intp)
        cost[share], quality[share] = data.cost[taken].mean(), data.correct[taken].mean()
    reached = [share for share in SHARES if quality[share] >= enough]
    return min(reached, key=cost.__getitem__) if reached else max(SHARES, key=quality.__getitem__)


def judgement(data: Outcomes, sent: Array, places: Places, half: Places, share: float) -> Judgement:
    """Beside the model that is best over all prompts."""
    best = int(data.correct.mean(axis=0).argmax())
    judged_on, models = places[half], sent[half].astype(np.intp)
    return Judgement(
        share,
        float(data.correct[judged_on, models].mean() / data.correct[judged_on, best].mean()),
        float(data.cost[judged_on, models].mean() / data.cost[judged_on, best].mean()),
    )


def single(data: Outcomes) -> list[Judgement]:
    """The one model that did best on each tenth, on the other nine."""
    found = []
    for asked, others in tenths(len(data.prompts)):
        model = float(data.correct[asked].mean(axis=0).argmax())
        every = np.arange(len(others), dtype=np.intp)
        found.append(judgement(data, np.full(len(others), model), others, every, 1.0))
    return found


def show(name: str, found: Sequence[Judgement]) -> None:
    quality, cost = (np.array([getattr(one, what) for one in found]) for what in ("quality", "cost"))
    share = float(np.mean([one.share for one in found]))
    low, high = np.quantile(cost, [0.1, 0.9])
    print(f"| {name} | {share:.0%} | {quality.mean():.1%} | {cost.mean():.0%} ({low:.0%} to {high:.0%}) |")


def head(name: str) -> None:
    print(f"\n## {name}\n")
    print("| | powerful, on average | of the best model's quality | of its cost (eight of ten) |")
    print("| --- | --- | --- | --- |")


def tenths_asked(data: Outcomes, judged: Judged) -> None:
    """The table of evidence from a tenth of the prompts."""
    head(f"{data.name}: {len(data.prompts)} prompts, a tenth of them asked")
    show("the model that was best on the tenth", single(data))
    every = np.arange(len(data.prompts))
    show("balanced, floor 0.7, published scores", [*judgements(data, judged, Options(), None, every)])
    for strategy, floor in SETTINGS:
        options = Options(default_strategy=strategy, quality_floor=floor)
        show(
            f"{strategy}, floor {floor:g}, a tenth measured",
            [
                one
                for asked, others in tenths(len(data.prompts))
                for one in judgements(data, judged, options, evidence(data, judged, asked), others)
            ],
        )


def others_asked(data: Outcomes, judged: Judged, asked: Outcomes, of_asked: Judged) -> None:
    """The table of evidence from prompts of the same kind that are not held out."""
    head(f"{data.name}: {len(data.prompts)} prompts, others asked")
    every = np.arange(len(data.prompts))
    for strategy, floor in SETTINGS[:2]:
        options = Options(default_strategy=strategy, quality_floor=floor)
        for number in NUMBERS:
            found: list[Judgement] = []
            for draw in range(DRAWS):
                drawn = np.random.default_rng(draw).choice(len(asked.prompts), number, replace=False)
                found += judgements(data, judged, options, evidence(asked, of_asked, drawn), every)
            show(f"{strategy}, floor {floor:g}, {number} others measured", found)


def a_few(data: Outcomes, count: int) -> Outcomes:
    """As many prompts, drawn at random."""
    drawn = np.random.default_rng(0).choice(len(data.prompts), min(count, len(data.prompts)), replace=False)
    return Outcomes(
        data.name,
        [data.prompts[i] for i in drawn],
        [data.prompt_tokens[i] for i in drawn],
        data.models,
        data.correct[drawn],
        data.cost[drawn],
        data.prices,
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", type=Path, required=True, help="folder of routing data")
    options.add_argument("--weights", type=Path, default=Path("services/classifier/weights/v1.npz"))
    options.add_argument(
        "--development",
        type=int,
        default=0,
        help="so many prompts that judge nothing, instead of those held out",
    )
    chosen = options.parse_args()
    classifier = Classifier(heads.load(chosen.weights), Embedder())
    for name, file, models in (
        ("MMLU-Pro", "mmlu_pro_correctness.csv.gz", MMLU_PRO),
        ("LLMRouter, 11 tasks", "llmrouter_scores_9models.csv.gz", LLM_ROUTER),
    ):
        others = outcomes(name, chosen.data / "train" / file, models, held=False)
        if chosen.development:
            data = a_few(others, chosen.development)
            tenths_asked(data, classified(data, classifier))
            continue
        data = outcomes(name, chosen.data / "train" / file, models)
        judged = classified(data, classifier)
        tenths_asked(data, judged)
        others_asked(data, judged, others, classified(others, classifier))


if __name__ == "__main__":
    main()
