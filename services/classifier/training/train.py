"""Train the heads.

    python -m services.classifier.training.train --data FOLDER

- The score, the categories: logistic regression on the corpus of requests (`requests/README.md`), each request as it
  was written and as variants of it (`variants`), and on ordinary requests (`corpus.kinds`), over n-grams and features.
- The subjects: the same, on questions of MMLU-Pro and on requests of categories that have no subject.
- Exam questions and sums told as a story: `outcomes`.
- Calibration: every request is scored by heads that saw nothing of its writer; slope and intercept of these scores
  make the score a probability, and the default threshold is where mistakes on them cost least.
"""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, vstack
from sklearn.linear_model import LogisticRegression

from services.classifier import heads
from services.classifier.classify import Classifier
from services.classifier.embedding import Embedder
from services.classifier.features import INDEX, NAMES, Observation, observe
from services.classifier.heads import CATEGORIES, COMMITTED, KINDS, SCORE, SUBJECTS, TOPICS, Array, Heads
from services.classifier.reading import Reading, Turn, read
from services.classifier.training import corpus, outcomes, subjects, sums, variants
from services.classifier.training.corpus import Request
from services.classifier.training.data import check
from services.classifier.training.ngrams import Vocabulary, vocabulary
from services.classifier.words import END_WEIGHT, PARTS, Table

# Inverse strength of regularization.
SCORE_C, CATEGORY_C, SUBJECT_C = 4.0, 20.0, 50.0
# How sure each level is that a powerful model is needed. Asked for yes or no alone, the score spends its weights on
# what parts level 2 from level 3, and lets go of level 4.
NEEDED = {1: 0.02, 2: 0.12, 3: 0.88, 4: 0.98}
# What a deviation of a feature weighs beside the n-grams of a whole text.
FEATURE_WEIGHT = 0.03
# What a variant of a request weighs beside the request.
VARIANT_WEIGHT = 0.5
# Share of the polite variants whose courtesies stay: something is left of preambles in words that nobody foresaw.
STAYING_POLITE = 0.5
# Writers who were asked that neither length nor topic tell the level, and what theirs weighs when the score is fitted:
# to n-grams a sum among medical words is medicine, and only such requests say otherwise.
CONTRARY, CONTRARY_WEIGHT = frozenset(("38", "39", "40", "41", "42", "43", "44")), 3.0
# What an ordinary easy request weighs beside one with a level.
EASY_WEIGHT = 0.2
LEAST_SCALE = 0.05
# Writers are left out in so many groups for calibration.
GROUPS = 6
# What the wrong tier costs by level: a hard request that is answered badly weighs more than an easy one that is
# answered dearly.
COSTS = {1: 3.0, 2: 0.8, 3: 1.0, 4: 3.0}
# Exam questions of one subject, and requests without a subject for each of them, at most.
MOST_OF_SUBJECT = 250
ACADEMIC = frozenset(("factual question", "math", "reasoning", "science", "code"))

Labels = NDArray[np.int_]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests and their variants: what was seen, the requests' labels, and what each weighs."""

    seen: list[Observation]
    requests: list[Request]
    weights: Weights


def reading(request: Request, last: str | None = None) -> Reading:
    """A request as the classifier reads it, its last message replaced by another text if one is given."""
    *before, (role, text) = request.turns
    turns = [*before, (role, text if last is None else last)]
    return read([Turn(who, said) for who, said in turns], len(request.tools))


def sample(requests: Sequence[Request], embedder: Embedder, draw: random.Random) -> Sample:
    """Every request, then every request as each of the trained variants."""
    seen = [observe(reading(request), embedder) for request in requests]
    for variant in variants.TRAINED:
        for request in requests:
            text = variant(request.text, request.language, draw)
            stays = variant is variants.polite and draw.random() < STAYING_POLITE
            seen.append(observe(reading(request, text), embedder, polite=stays))
    size, times = len(requests), len(variants.TRAINED)
    weights = np.concatenate([np.ones(size), np.full(size * times, VARIANT_WEIGHT)])
    return Sample(seen, [*requests] * (1 + times), weights)


@dataclass(frozen=True, slots=True)
class Design:
    """How observations become rows of numbers, in the way that the heads will see them."""

    vocabularies: tuple[Vocabulary, ...]
    mean: Array
    scale: Array

    def rows(self, seen: Sequence[Observation]) -> csr_array:
        """The n-grams of the whole, the first and the last words, then the features; one row an observation."""
        blocks = [
            vocabulary.matrix([getattr(one.words, part) for one in seen])
            * (1.0 if part == "whole" else END_WEIGHT)
            for part, vocabulary in zip(PARTS, self.vocabularies, strict=True)
        ]
        features = np.stack([one.features for one in seen])
        standard = heads.standardize(features, self.mean, self.scale)
        return csr_array(hstack([*blocks, csr_array(standard * FEATURE_WEIGHT)], format="csr"))

    def split(self, coefficients: Array) -> tuple[list[Array], Array]:
        """Columns of coefficients (rows x heads) as the tables' weights of each part, and the features'."""
        ends = np.cumsum([len(vocabulary.digests) for vocabulary in self.vocabularies])
        *parts, features = np.split(coefficients, ends)
        return parts, features * FEATURE_WEIGHT


def design(seen: Sequence[Observation]) -> Design:
    """Vocabularies, means and scales of observations."""
    features = np.stack([one.features for one in seen])
    return Design(
        tuple(vocabulary(getattr(one.words, part) for one in seen) for part in PARTS),
        features.mean(axis=0),
        features.std(axis=0) + np.float32(LEAST_SCALE),
    )


def fit(rows: csr_array, labels: Labels, weights: Weights, strength: float) -> tuple[Array, float]:
    """Logistic regression: coefficients and intercept; several may run side by side in threads."""
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=1000, random_state=0)
    model.fit(rows, labels, sample_weight=weights)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def emphasis(told: Sample) -> Weights:
    """What each request weighs when the score is fitted; in calibration all writers count alike."""
    contrary = np.array([one.writer in CONTRARY for one in told.requests])
    return np.where(contrary, CONTRARY_WEIGHT, 1.0) * told.weights


def fit_score(rows: csr_array, levels: Labels, weights: Weights, easy: csr_array) -> tuple[Array, float]:
    """The score's coefficients and intercept, from requests with levels and from easy ones."""
    needed = np.array([NEEDED[level] for level in levels])
    size, simple = rows.shape[0], easy.shape[0]
    # Each request stands once as powerful and once as fast, by how sure its level is of either.
    return fit(
        csr_array(vstack([rows, rows, easy], format="csr")),
        np.repeat([1, 0], [size, size + simple]),
        np.concatenate([weights * needed, weights * (1 - needed), np.full(simple, EASY_WEIGHT)]),
        SCORE_C,
    )


def train(data: Path, seed: int, version: str) -> Heads:
    """Train one version of the weights; says what it uses."""
    embedder = Embedder()
    requests = [*corpus.load("train"), *corpus.translated("train")]
    told = sample(requests, embedder, random.Random(seed))
    # A variant holds the n-grams of its request: only what several requests hold says something of others.
    made = design(told.seen[: len(requests)])
    rows = made.rows(told.seen)
    say("requests, and their variants", (len(requests), len(told.seen) - len(requests)))
    say("n-grams of the whole and of both ends", [len(own.digests) for own in made.vocabularies])

    kinds = [(text, category, category in corpus.EASY) for text, category, _ in corpus.kinds()]
    kinds += [(text, "math", True) for text, _ in sums.sums(seed)]
    texts, named, is_easy = zip(*kinds, strict=True)
    ordinary = made.rows(outcomes.seen(texts, embedder))
    easy = ordinary[np.flatnonzero(is_easy)]
    say("ordinary requests of known category, of them easy", (len(texts), easy.shape[0]))

    slope, intercept, threshold = calibrate(told, rows, easy)
    columns = np.zeros((rows.shape[1], TOPICS.stop), np.float32)
    biases = np.zeros(TOPICS.stop, np.float32)
    levels = np.array([one.level for one in told.requests])
    columns[:, SCORE], biases[SCORE] = fit_score(rows, levels, emphasis(told), easy)
    columns[:, SCORE] *= slope
    biases[SCORE] = biases[SCORE] * slope + intercept
    labelled = csr_array(vstack([rows, ordinary], format="csr"))
    names = np.array([*(one.category for one in told.requests), *named])
    weights = np.concatenate([told.weights, np.ones(len(texts))])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        fitted = threads.map(
            lambda category: fit(labelled, (names == category).astype(int), weights, CATEGORY_C), CATEGORIES
        )
        for at, (own, bias) in enumerate(fitted, KINDS.start):
            columns[:, at], biases[at] = own, bias

    questions = outcomes.exam(data, embedder, np.random.default_rng(seed))
    say("exam questions with outcomes", len(questions.questions))
    columns[:, TOPICS], biases[TOPICS] = topics(questions, told, made, embedder)
    learnt = outcomes.learn(data, questions, made.mean, made.scale, embedder)
    parts, inputs = made.split(columns)
    tables = [
        Table(
            own.digests,
            own.rarity,
            np.ascontiguousarray(weights[:, : heads.WIDTHS[part]]),
            np.ones(heads.WIDTHS[part], np.float32),
        )
        for part, own, weights in zip(PARTS, made.vocabularies, parts, strict=True)
    ]
    found = Heads(
        version=version, mean=made.mean, scale=made.scale, inputs=inputs, biases=biases, tables=tuple(tables),
        embedding_mean=learnt.embedding_mean, embedding_scale=learnt.embedding_scale, exam=learnt.exam,
        exam_bias=0.0, effort=learnt.effort, effort_bias=learnt.effort_bias,
        effort_weight=outcomes.EFFORT_WEIGHT, threshold=threshold, features=NAMES,
        facts={"seed": seed, "requests": len(requests), "outcomes": len(questions.questions)},
    )  # fmt: skip
    return centred(found, questions, told, embedder)


def centred(found: Heads, questions: outcomes.Exam, told: Sample, embedder: Embedder) -> Heads:
    """With exam questions on the level that their words give them, and efforts split between the corpus' tiers."""
    rows = np.stack([one.features for one in questions.questions])
    both = np.hstack(
        [found.standardize(rows), [heads.embedded(found, one, embedder) for one in questions.questions]]
    )
    classifier = Classifier(replace(found, exam=np.zeros_like(found.exam)), embedder)
    plain = classifier.judgement(questions.questions).score
    # An exam's head of zeros leaves the rest of the trust.
    level = plain.mean() / (1 - heads.EXAM_TRUST)
    stories = [
        (one, request)
        for one, request in zip(told.seen, told.requests, strict=True)
        if one.features[INDEX["story_sum"]] > 0
    ]
    efforts = [
        heads.effort(
            found,
            np.concatenate([found.standardize(one.features[None])[0], heads.embedded(found, one, embedder)]),
        )
        for one, _ in stories
    ]
    of_tier = [
        np.median([e for e, (_, request) in zip(efforts, stories, strict=True) if request.powerful is tier])
        for tier in (False, True)
    ]
    return replace(
        found,
        exam_bias=float(level - (both @ found.exam).mean()),
        effort_bias=found.effort_bias - float(np.mean(of_tier)),
    )


def calibrate(told: Sample, rows: csr_array, easy: csr_array) -> tuple[float, float, float]:
    """Slope, intercept and threshold from scores by heads that saw nothing of a request's writer."""
    writers = sorted({one.writer for one in told.requests})
    group = np.array([writers.index(one.writer) % GROUPS for one in told.requests])
    levels = np.array([one.level for one in told.requests])
    powerful = np.array([one.powerful for one in told.requests], int)
    weights = emphasis(told)
    scores = np.zeros(len(levels))

    def judge_others(held: int) -> None:
        others = group != held
        coefficients, intercept = fit_score(rows[others], levels[others], weights[others], easy)
        scores[~others] = rows[~others] @ coefficients + intercept

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(judge_others, range(GROUPS)))
    model = LogisticRegression(C=1e3).fit(scores[:, None], powerful, sample_weight=told.weights)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    say("slope and intercept of the score", (round(slope, 3), round(intercept, 3)))
    threshold = cheapest(slope * scores + intercept, levels, told.weights)
    right = (slope * scores + intercept >= threshold) == (powerful > 0)
    say("tier right, writers left out", round(float(np.average(right, weights=told.weights)), 3))
    return slope, intercept, heads.sigmoid(threshold)


def cheapest(scores: Weights, levels: Labels, weights: Weights) -> float:
    """The score from which calling requests powerful costs least, by COSTS."""
    order = np.argsort(scores)
    cost = np.array([COSTS[level] for level in levels[order]]) * weights[order]
    # Below the threshold the hard ones are mistakes, above it the easy ones.
    hard = levels[order] >= 3
    total = np.cumsum(cost * hard) + (cost * ~hard).sum() - np.cumsum(cost * ~hard)
    best = int(total.argmin())
    return float(scores[order[best : best + 2]].mean())


def topics(questions: outcomes.Exam, told: Sample, made: Design, embedder: Embedder) -> tuple[Array, Array]:
    """The heads of the subjects and of none, over the n-grams of whole texts; as columns and biases."""
    kept: list[tuple[Observation, str]] = []
    for subject in SUBJECTS:
        own = [
            one for one, name in zip(questions.questions, questions.subjects, strict=True) if name == subject
        ]
        kept += [(one, subject) for one in own[:MOST_OF_SUBJECT]]
    texts, names = zip(*subjects.questions(), strict=True)
    kept += zip(outcomes.seen(texts, embedder), names, strict=True)
    others = [
        one for one, request in zip(told.seen, told.requests, strict=True) if request.category not in ACADEMIC
    ]
    kept += [(one, "none") for one in others[:: max(1, len(others) // (4 * MOST_OF_SUBJECT))]]
    rows = made.rows([one for one, _ in kept])
    # The ends have no say.
    size = len(made.vocabularies[0].digests)
    rows = csr_array(hstack([rows[:, :size], rows[:, -len(NAMES) :]], format="csr"))
    columns = np.zeros((sum(len(own.digests) for own in made.vocabularies) + len(NAMES), len(SUBJECTS) + 1))
    biases = np.zeros(len(SUBJECTS) + 1, np.float32)
    subject_of = np.array([name for _, name in kept])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(
            lambda subject: fit(rows, (subject_of == subject).astype(int), np.ones(len(kept)), SUBJECT_C),
            (*SUBJECTS, "none"),
        )
        for number, (weights, bias) in enumerate(found):
            columns[:size, number], columns[-len(NAMES) :, number] = weights[:size], weights[size:]
            biases[number] = bias
    return columns.astype(np.float32), biases


def say(what: str, value: object) -> None:
    """Print what is used."""
    sys.stdout.write(f"{what}: {value}\n")
    sys.stdout.flush()


def main() -> None:
    """Train, save, and say what was used."""
    parser = argparse.ArgumentParser(
        description="Train the classifier's heads on the corpus and public data."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and dev/ (docs/data.md)")
    parser.add_argument("--out", type=Path, default=COMMITTED, help="folder of the weights")
    parser.add_argument("--version", default="v1", help="name of the weights")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    check(options.data)
    try:
        heads.check_name(options.version)
    except ValueError as error:
        parser.error(f"--version: {error}")
    path = heads.save(train(options.data, options.seed, options.version), options.out)
    say("written", f"{path} ({path.stat().st_size / 1024:.0f} KiB)")


if __name__ == "__main__":
    main()
