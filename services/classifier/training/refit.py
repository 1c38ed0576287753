"""Learn from use.

    python -m services.classifier.training.refit --feedback FILE --version NAME --out FOLDER

Each line of the file is what the gateway kept of one request, by opt-in and never its text:
{"features": [...], "score": 0.21, "outcome": 1}. `features` are what was counted, in the order of features.NAMES, and
`score` the probability, as the classifier answered when asked for features; `outcome` is from 0 (a fast model's answer
was good enough) to 1 (a powerful model was needed). The embedding of a request is never kept: its words could be read
back from it. Lines that name another `version` than the weights that are refitted are left out.

Only the ranking is learnt: which requests need a powerful model more than others. Users who say what they think of an
answer are no sample of all users, and the displeased say it more often; so neither how often they are displeased nor
how sharply that divides them says anything about all requests. Both are fitted beside the weights and thrown away. The
bias then keeps the mean score of the lines, in log-odds, as it was, and the threshold stays. (To hold the bias and
compute a new threshold would need a sample of all requests, which the lines are not.) How many of the lines reach the
threshold moves only as far as the new ranking spreads them otherwise; both shares are printed.

Few outcomes change little: a hundred lines move scores by 0.01 to 0.04 in log-odds, 3,000 by 0.1 to 0.4. The lines
judge the new weights against the old ones in five parts, each by weights learnt from the other four; requests that look
the same are in one part, so that none is judged by what was learnt from its twin. New weights are written only when
they predict better beyond chance. Serve them as LUMNI_CLASSIFIER_SHADOW first, then for a share of the requests
(LUMNI_CLASSIFIER_VERSIONS).
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.classifier import heads
from services.classifier.features import NAMES
from services.classifier.heads import SCORE, Array, Heads
from services.classifier.training.metrics import Vector, bootstrap

# How firmly the old weights hold. Chosen on the development half of MMLU in RouteLLM's data, with the weak model's
# wrong answers as outcomes: refitted on 100 to 3,000 of them, 50 costs 0.010 of APGR on the others, 500 nothing and
# 1,500 gains 0.001. Outcomes of pure chance never passed in 68 trials; 300 that depend on two counts did in 20 of 20.
HOLD = 1500.0
# The level and the sharpness of the outcomes are as good as free.
FREE = 1e-2
STEPS, HALVINGS = 50, 30
FOLDS = 5
LEAST_LINES = 100
# Lines of each of both outcomes, and requests that look different, that must be there.
LEAST_OF_EACH = 10
LEAST_DIFFERENT = 50
ROUNDS = 1000
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
    scores: Vector
    outcomes: Vector


@dataclass(frozen=True, slots=True)
class Refit:
    """New weights and their judgement.

    Attributes:
        weights: The new version.
        before: Log-loss of the old ranking on all lines, whatever their level and sharpness.
        after: Log-loss of new rankings, each on the lines that it was not learnt from.
        gain: The 95 % interval of the difference; drawn are requests that look different.
        powerful_before: The share of the lines whose score reaches the threshold with the old weights.
        powerful_after: The same with the new ones.
    """

    weights: Heads
    before: float
    after: float
    gain: tuple[float, float]
    powerful_before: float
    powerful_after: float

    @property
    def better(self) -> bool:
        """Whether the new ranking predicts better beyond chance."""
        return self.gain[0] > 0


def load(path: Path, version: str) -> Feedback:
    """Read the feedback on one version of the weights.

    Raises:
        OSError: a file that cannot be read.
        ValueError: a line that cannot be used, by its number and field, or fewer than LEAST_LINES.
    """
    lines = list(_lines(path, version))
    if len(lines) < LEAST_LINES:
        raise ValueError(f"{path}: {len(lines)} lines on {version}; at least {LEAST_LINES} are needed")
    features, scores, outcomes = zip(*lines, strict=True)
    return Feedback(np.array(features, np.float32), np.array(scores), np.array(outcomes))


def _lines(path: Path, version: str) -> Iterator[tuple[list[float], float, float]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = _object(line)
                # A score of other weights says nothing of these.
                if _field(row, "version", version) == version:
                    yield _features(row), _share(row, "score"), _share(row, "outcome")
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error


def _object(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    if isinstance(row, dict):
        return row
    raise ValueError('expected an object: {"features": [...], "score": 0.21, "outcome": 1}')


def _field(row: dict[str, Any], name: str, *default: str) -> Any:
    if name not in row and not default:
        raise ValueError(f"{name} is missing")
    return row.get(name, *default)


def _features(row: dict[str, Any]) -> list[float]:
    found = _field(row, "features")
    if not isinstance(found, list) or len(found) != len(NAMES):
        size = len(found) if isinstance(found, list) else "none"
        raise ValueError(
            f"features: expected {len(NAMES)} numbers, found {size}; another release counts others"
        )
    for number, value in enumerate(found):
        # Put so that NaN is refused as well.
        if not (isinstance(value, int | float) and abs(value) < heads.LARGEST):
            raise ValueError(f"features[{number}] ({NAMES[number]}): expected a number")
    return found


def _share(row: dict[str, Any], name: str) -> float:
    value = _field(row, name)
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise ValueError(f"{name}: expected a number from 0 to 1")
    return float(value)


def refit(old: Heads, feedback: Feedback, version: str) -> Refit:
    """Fit what the counts add to the score to outcomes, held by the old weights, and judge the result.

    Raises:
        ValueError: outcomes of one kind only, or too few different requests.
    """
    outcomes = feedback.outcomes
    kinds = {"good enough": int((outcomes < 0.5).sum()), "a powerful one needed": int((outcomes > 0.5).sum())}
    for kind, count in kinds.items():
        if count < LEAST_OF_EACH:
            raise ValueError(
                f"{count} of {len(outcomes)} outcomes say '{kind}': a ranking is learnt from what divides both kinds; "
                f"at least {LEAST_OF_EACH} of each are needed"
            )
    twins = _twins(feedback.features)
    different, place = np.unique(twins, return_inverse=True)
    if len(different) < LEAST_DIFFERENT:
        raise ValueError(
            f"only {len(different)} of {len(outcomes)} requests look different; at least {LEAST_DIFFERENT} are needed"
        )
    known = np.clip(feedback.scores, LEAST_SCORE, 1 - LEAST_SCORE)
    scores = np.log(known / (1 - known))
    standard = old.standardize(feedback.features).astype(float)
    learnt = np.empty_like(scores)
    for fold in range(FOLDS):
        judging = twins % FOLDS == fold
        moved = _moved(standard[~judging], scores[~judging], outcomes[~judging])
        learnt[judging] = scores[judging] + (standard[judging] - standard[~judging].mean(axis=0)) @ moved
    before, after = _losses(scores, outcomes), _losses(learnt, outcomes)
    gains, counts = np.bincount(place, before - after), np.bincount(place)
    gain = bootstrap(
        lambda draw: float(gains[draw].sum() / counts[draw].sum()), len(different), seed=0, rounds=ROUNDS
    )
    # In single precision, as the weights are kept: the bias makes up for exactly what they add.
    moved = _moved(standard, scores, outcomes).astype(np.float32).astype(float)
    level = float(standard.mean(axis=0) @ moved)
    inputs, biases = old.inputs.copy(), old.biases.copy()
    inputs[:, SCORE] += moved.astype(np.float32)
    biases[SCORE] -= np.float32(level)
    weights = replace(
        old,
        version=version,
        inputs=inputs,
        biases=biases,
        facts={**old.facts, "refitted_from": old.version, "requests": len(scores)},
    )
    return Refit(
        weights,
        float(before.mean()),
        float(after.mean()),
        gain,
        float((feedback.scores >= old.threshold).mean()),
        float((_probability(scores + standard @ moved - level) >= old.threshold).mean()),
    )


def _twins(features: Array) -> NDArray[np.uint64]:
    """A digest of each row's features, the same for requests that look the same.

    Logarithms and averages are taken as whole numbers: a template filled in with another name mostly stays the same,
    and of a hundred everyday requests 93 differ from all others.
    """
    rounded = np.rint(features).astype(np.int16)
    return np.array(
        [int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest(), "big") for row in rounded], np.uint64
    )


def _moved(standard: Vector, scores: Vector, outcomes: Vector) -> Vector:
    """What outcomes add to the weights of the features; their level and sharpness are fitted and left out."""
    beside = _beside(scores)
    hold = np.concatenate([np.full(standard.shape[1], HOLD), np.full(beside.shape[1], FREE)])
    found = _newton(np.hstack([standard - standard.mean(axis=0), beside]), outcomes, hold)
    # Beside outcomes that are sharper than the scores, what is added would weigh too much.
    moved: Vector = found[: standard.shape[1]] / max(1.0, found[-2])
    return moved


def _losses(scores: Vector, outcomes: Vector) -> Vector:
    """Log-loss of each line, once level and sharpness fit: only how the scores rank the lines counts."""
    beside = _beside(scores)
    found = _newton(beside, outcomes, np.full(beside.shape[1], FREE))
    if found[0] < 0:
        # A ranking that is wrong is not put right by being turned round.
        beside = beside[:, 1:]
        found = _newton(beside, outcomes, np.full(1, FREE))
    return _log_loss(beside @ found, outcomes)


def _beside(scores: Vector) -> Vector:
    return np.column_stack([scores, np.ones(len(scores))])


def _newton(design: Vector, outcomes: Vector, hold: Vector) -> Vector:
    """Ridge logistic regression by Newton's method; steps that overshoot are halved."""

    def loss(at: Vector) -> float:
        return float(_log_loss(design @ at, outcomes).sum() + (hold * at * at).sum() / 2)

    found = np.zeros(design.shape[1])
    least = loss(found)
    for _ in range(STEPS):
        p = _probability(design @ found)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(hold)
        step = np.linalg.solve(hessian, design.T @ (p - outcomes) + hold * found)
        for _ in range(HALVINGS):
            if loss(found - step) <= least:
                break
            step /= 2
        else:
            break
        found = found - step
        least = loss(found)
        if np.abs(step).max() < 1e-6:
            break
    return found


def _probability(scores: Vector) -> Vector:
    p: Vector = 1.0 / (1.0 + np.exp(-np.clip(scores, -30, 30)))
    return p


def _log_loss(scores: Vector, outcomes: Vector) -> Vector:
    losses: Vector = np.logaddexp(0.0, scores) - outcomes * scores
    return losses


def main() -> None:
    """Refit, judge, and write the new version if it is better."""
    parser = argparse.ArgumentParser(description="Refit the classifier's ranking on feedback.")
    parser.add_argument(
        "--weights", type=Path, default=heads.COMMITTED / "v1.npz", help="the old version's file"
    )
    parser.add_argument(
        "--feedback", type=Path, required=True, help="JSON lines of features, score and outcome"
    )
    parser.add_argument("--version", required=True, help="name of the new version")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new version")
    options = parser.parse_args()
    try:
        _check_new(options.version)
        old = heads.load(options.weights)
        if options.version == old.version:
            raise ValueError(
                f"--version: {old.version} is what the old weights are called; choose another name"
            )
        found = refit(old, load(options.feedback, old.version), options.version)
        low, high = found.gain
        sys.stdout.write(
            f"log-loss on lines not learnt from, level and sharpness fitted: {found.before:.4f} before, "
            f"{found.after:.4f} after; better by {low:.4f} to {high:.4f} (95 %)\n"
            f"lines whose score reaches the threshold: {found.powerful_before:.1%} before, "
            f"{found.powerful_after:.1%} after\n"
        )
        if not found.better:
            sys.exit("refit: the new weights predict no better beyond chance; nothing is written")
        sys.stdout.write(f"written: {heads.save(found.weights, options.out)}\n")
    except (ValueError, OSError) as error:
        sys.exit(f"refit: {error}")


def _check_new(version: str) -> None:
    try:
        heads.check_name(version)
    except ValueError as error:
        raise ValueError(f"--version: {error}") from None
    if (heads.COMMITTED / f"{version}.npz").exists():
        raise ValueError(
            f"--version: {version} comes with the package and stays what it is; choose another name"
        )


if __name__ == "__main__":
    main()
