"""Learn from use.

    python -m services.classifier.refit --feedback FILE --version NAME --out FOLDER

Each line of the file is what the gateway kept of one request, by opt-in and never its text:
{"features": [...], "score": 0.21, "outcome": 1}. `features` are what was counted, in the order of features.NAMES, and
`score` the probability, as the classifier answered when asked for features; `outcome` is from 0 (a fast model's answer
was good enough) to 1 (a powerful model was needed). The embedding of a request is never kept: its words could be read
back from it.

Only what the counts add to the score moves, and as little as the outcomes demand: few outcomes change little. Lines
that name another `version` than the weights that are refitted are left out. A fifth of the lines judges the new weights
against the old ones; they are written only when they predict better. Serve them as LUMNI_CLASSIFIER_SHADOW first, then
for a share of the requests (LUMNI_CLASSIFIER_VERSIONS).
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.classifier import heads
from services.classifier.features import NAMES
from services.classifier.heads import Array, Heads

# How firmly the old weights hold: as if each had been seen in this many requests.
PRIOR_REQUESTS = 50.0
STEPS = 25
# Every fifth line judges, and is not learnt from.
FOLDS = 5
LEAST_LINES = 100
# Recorded probabilities are kept this far from 0 and 1.
LEAST_SCORE = 1e-6


@dataclass(frozen=True, slots=True)
class Feedback:
    """Requests and what became of them.

    Attributes:
        features: What was counted, one row a request.
        scores: The probabilities that the old weights gave.
        outcomes: 0 to 1.
    """

    features: Array
    scores: NDArray[np.float64]
    outcomes: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Refit:
    """New weights and their judgement.

    Attributes:
        weights: The new version.
        before: Log-loss of the old weights on the lines held back.
        after: Log-loss of the new ones.
    """

    weights: Heads
    before: float
    after: float


def load(path: Path, version: str) -> Feedback:
    """Read the feedback on one version of the weights.

    Raises:
        ValueError: a line that cannot be used, by its number, or fewer than LEAST_LINES.
    """
    lines = list(_lines(path, version))
    if len(lines) < LEAST_LINES:
        raise ValueError(f"{path}: {len(lines)} lines on {version}; at least {LEAST_LINES} are needed")
    features, scores, outcomes = zip(*lines, strict=True)
    return Feedback(np.array(features, np.float32), np.array(scores), np.array(outcomes))


def _lines(path: Path, version: str) -> Iterator[tuple[list[float], float, float]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                features, score, outcome = row["features"], float(row["score"]), float(row["outcome"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"line {number}: expected features, score and outcome: {error!r}") from error
            if len(features) != len(NAMES) or not 0.0 <= score <= 1.0 or not 0.0 <= outcome <= 1.0:
                raise ValueError(
                    f"line {number}: expected {len(NAMES)} features, and a score and an outcome from 0 to 1"
                )
            # A score of other weights is no offset to these.
            if row.get("version", version) == version:
                yield features, score, outcome


def refit(old: Heads, feedback: Feedback, version: str) -> Refit:
    """Fit what the counts add to the score to outcomes, held by the old weights; judge both on every fifth line."""
    known = np.clip(feedback.scores, LEAST_SCORE, 1 - LEAST_SCORE)
    scores = np.log(known / (1 - known))
    standard = old.standardize(feedback.features)
    held = np.arange(len(scores)) % FOLDS == 0
    # A column of ones moves the bias.
    design = np.hstack([standard.astype(float), np.ones((len(scores), 1))])
    moved = _newton(design[~held], scores[~held], feedback.outcomes[~held])
    win = old.win.copy()
    win[: len(NAMES)] += moved[:-1].astype(np.float32)
    weights = replace(
        old,
        version=version,
        win=win,
        win_bias=old.win_bias + float(moved[-1]),
        facts={**old.facts, "refitted_from": old.version, "requests": len(scores)},
    )
    outcomes = feedback.outcomes[held]
    before = _log_loss(scores[held], outcomes)
    after = _log_loss(scores[held] + design[held] @ moved, outcomes)
    return Refit(weights, before, after)


def _newton(
    design: NDArray[np.float64], offset: NDArray[np.float64], outcomes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ridge logistic regression around an offset, by Newton's method; the bias is not held."""
    hold = np.full(design.shape[1], PRIOR_REQUESTS)
    hold[-1] = 1.0
    moved = np.zeros(design.shape[1])
    for _ in range(STEPS):
        p = _probability(offset + design @ moved)
        gradient = design.T @ (p - outcomes) + hold * moved
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(hold)
        step = np.linalg.solve(hessian, gradient)
        moved = moved - step
        if np.abs(step).max() < 1e-6:
            break
    return moved


def _probability(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    p: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(scores, -30, 30)))
    return p


def _log_loss(scores: NDArray[np.float64], outcomes: NDArray[np.float64]) -> float:
    p = np.clip(_probability(scores), 1e-9, 1 - 1e-9)
    return float(-(outcomes * np.log(p) + (1 - outcomes) * np.log(1 - p)).mean())


def main() -> None:
    """Refit, judge, and write the new version if it is better."""
    parser = argparse.ArgumentParser(description="Refit the classifier's score on feedback.")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parent / "weights" / "v1.npz")
    parser.add_argument(
        "--feedback", type=Path, required=True, help="JSON lines of features, score and outcome"
    )
    parser.add_argument("--version", required=True, help="name of the new version")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new version")
    options = parser.parse_args()
    try:
        old = heads.load(options.weights)
        found = refit(old, load(options.feedback, old.version), options.version)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"refit: {error}")
    sys.stdout.write(f"log-loss on the lines held back: {found.before:.4f} before, {found.after:.4f} after\n")
    if found.after >= found.before:
        sys.exit("refit: the new weights predict no better; nothing is written")
    sys.stdout.write(f"written: {heads.save(found.weights, options.out)}\n")


if __name__ == "__main__":
    main()
