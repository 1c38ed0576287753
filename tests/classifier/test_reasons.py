"""Reasons are what a person would say: of what is there, with the sign that it has."""

from pathlib import Path

import numpy as np
import pytest

from services.classifier import words
from services.classifier.classify import Classification, Classifier
from services.classifier.embedding import Embedder
from services.classifier.features import NAMED, Observation, observe
from services.classifier.heads import SCORE, Heads
from services.classifier.reading import Reading, Turn, read
from services.classifier.reasons import EFFORT, EXAM, MOST, TASKS, WORDING
from services.classifier.training import corpus
from services.classifier.training.train import reading
from services.classifier.words import END_WEIGHT, Words

TEXTS = [
    line.split("\t")[2].replace("\\n", "\n")
    for line in (Path(__file__).parent / "everyday.tsv").read_text("utf-8").splitlines()
    if line
]
READINGS = [read([Turn("user", text)]) for text in TEXTS] + [
    reading(request) for request in corpus.load("development")
]
# Reasons that say that there is little of something, so that nothing of it need be there.
LITTLE = {few for _, few in NAMED.values() if few}
WORDINGS = {f"{task}, {how}" for task in TASKS.values() for how in WORDING}
NAMES = {name for names in NAMED.values() for name in names if name}


@pytest.fixture
def judged(classifier: Classifier) -> list[Classification]:
    return classifier.classify(READINGS)


def test_there_are_one_to_five_reasons_each_once_and_the_largest_first(judged: list[Classification]) -> None:
    for found in judged:
        sizes = [abs(factor.contribution) for factor in found.factors]

        assert 1 <= len(sizes) <= MOST
        assert sizes == sorted(sizes, reverse=True)
        assert len({factor.name for factor in found.factors}) == len(sizes)
        assert {factor.name for factor in found.factors} <= {*NAMES, *WORDINGS, *EFFORT, *EXAM}


def test_what_is_absent_is_no_reason(judged: list[Classification]) -> None:
    for found in judged:
        for factor in found.factors:
            if factor.name not in {*LITTLE, *WORDINGS, *EFFORT, *EXAM}:
                assert factor.value > 0, factor


def test_long_words_are_never_a_reason(judged: list[Classification]) -> None:
    assert not {"long words", "plain words"} & {factor.name for found in judged for factor in found.factors}


def score(weights: Heads, vectors: words.Vectors, own: Words) -> float:
    """What the words of a request add to its score, by the definition."""
    whole, first, last = (words.mean(sums)[SCORE] for sums in vectors.parts(own))
    return float(whole + END_WEIGHT * (first + last))


def test_the_score_loses_what_the_largest_reason_contributes_when_it_is_taken_out(
    weights: Heads, embedder: Embedder, classifier: Classifier
) -> None:
    vectors = words.Vectors(weights.tables)
    kinds = {names[0]: kind for kind, names in NAMED.items() if names[0]}
    tried = 0
    for one, found in zip(READINGS, classifier.classify(READINGS), strict=True):
        largest = found.factors[0]
        seen = observe(one, embedder)
        if largest.name in WORDINGS:
            taken = {word for word in seen.words.whole if word not in seen.kinds}
            counted = unnamed(weights, seen)
        elif largest.name in kinds:
            kind = kinds[largest.name]
            taken = {word for word, own in seen.kinds.items() if own == kind}
            place = list(NAMED).index(kind)
            counted = float(weights.standardize(seen.features[None])[0, place] * weights.inputs[place, SCORE])
        else:
            continue
        left = Words(
            *(
                tuple(word for word in part if word not in taken)
                for part in (seen.words.whole, seen.words.first, seen.words.last)
            )
        )
        lost = score(weights, vectors, seen.words) - score(weights, vectors, left) + counted
        assert lost == pytest.approx(largest.contribution, abs=0.02), (one.question[:80], largest)
        assert np.sign(lost) == np.sign(largest.contribution)
        tried += 1

    assert tried > 0.9 * len(READINGS)


def unnamed(weights: Heads, seen: Observation) -> float:
    """What features without a name add, which is told with the wording."""
    standard = weights.standardize(seen.features[None])[0]
    return sum(
        float(deviation * weight)
        for names, deviation, weight in zip(NAMED.values(), standard, weights.inputs[:, SCORE], strict=True)
        if not names[bool(deviation <= 0)]
    )


def told_in(text: str) -> Reading:
    return read([Turn("user", text)])


def test_outcomes_are_told_where_they_count(classifier: Classifier) -> None:
    exam, story, proof = classifier.classify(
        [
            told_in("Which planet is the largest?\nA. Mars\nB. Jupiter\nC. Venus\nD. Earth\nAnswer:"),
            told_in("Tom buys 3 boxes of 12 eggs and breaks 5 of them. How many eggs are left?"),
            told_in("Prove that the sum of two odd numbers is even."),
        ]
    )

    assert {factor.name for factor in exam.factors} & set(EXAM)
    assert not {factor.name for factor in proof.factors} & {*EXAM, *EFFORT}
    assert story.category == "math"


def test_a_subject_is_for_questions_that_have_one(classifier: Classifier) -> None:
    talk, physics = classifier.classify(
        [
            told_in("Plan a healthy week of meals for my family"),
            told_in("A charge of 3 nC moves through a magnetic field of 2 T. What force acts on it?"),
        ]
    )

    assert talk.subject == ""
    assert physics.subject == "physics"
