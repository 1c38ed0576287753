"""Reasons are what a person would say: of what is there, with the sign that it has."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from services.classifier import words
from services.classifier.classify import Classification, Classifier
from services.classifier.embedding import Embedder
from services.classifier.features import COUNTED, INDEX, NAMES, Observation, observe
from services.classifier.heads import CATEGORIES, SCORE, Heads
from services.classifier.reading import Reading, Turn, read
from services.classifier.reasons import EFFORT, EXAM, MEANING, MOST, QUESTION, QUESTIONS, SURE, TASKS, WORDING
from services.classifier.sayings import SAYINGS
from services.classifier.stack import Opinion, Stack
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
WORDINGS = {f"{task}, {how}" for task in (*TASKS.values(), QUESTION) for how in WORDING}
SAID = {saying.name: (feature, saying) for feature, saying in SAYINGS.items()}


@pytest.fixture
def judged(classifier: Classifier) -> list[Classification]:
    return classifier.classify(READINGS)


@pytest.fixture
def chances(classifier: Classifier, embedder: Embedder) -> list[dict[str, float]]:
    """The probabilities of the categories of READINGS."""
    shares = classifier.judgement([observe(one, embedder) for one in READINGS]).category
    return [dict(zip(CATEGORIES, row, strict=True)) for row in shares.tolist()]


def probability(chances: dict[str, float], categories: Iterable[str]) -> float:
    """That one of some categories is the right one."""
    return sum(chances[category] for category in categories)


def test_there_are_at_most_five_reasons_each_once_and_the_largest_first(judged: list[Classification]) -> None:
    for found in judged:
        sizes = [abs(factor.contribution) for factor in found.factors]

        assert len(sizes) <= MOST
        assert sizes == sorted(sizes, reverse=True)
        assert len({factor.name for factor in found.factors}) == len(sizes)
        assert {factor.name for factor in found.factors} <= {*SAID, *WORDINGS, *EFFORT, *EXAM}


def test_every_reason_speaks_for_the_tier(judged: list[Classification]) -> None:
    for found in judged:
        assert {factor.contribution >= 0 for factor in found.factors} <= {found.powerful}, found


def test_nothing_is_said_of_a_request_whose_task_is_not_sure_and_that_is_seldom(
    judged: list[Classification], chances: list[dict[str, float]]
) -> None:
    silent = [own for found, own in zip(judged, chances, strict=True) if not found.factors]

    assert 0 < len(silent) <= 0.3 * len(judged)
    for own in silent:
        assert probability(own, QUESTIONS) < SURE
        assert max(probability(own, [category]) for category in TASKS) < SURE


def test_what_can_be_seen_is_there_and_speaks_for_the_tier_that_people_expect(
    judged: list[Classification], chances: list[dict[str, float]]
) -> None:
    told = [
        (found, own, factor)
        for found, own in zip(judged, chances, strict=True)
        for factor in found.factors
        if factor.name in SAID
    ]

    assert {factor.name for _, _, factor in told} >= {"a single short demand", "a short answer asked for"}
    for found, own, factor in told:
        feature, saying = SAID[factor.name]
        assert factor.value >= saying.least, feature
        assert saying.powerful is found.powerful
        assert not saying.of or probability(own, saying.of) >= SURE


def test_a_task_is_named_when_it_is_all_but_sure(
    judged: list[Classification], chances: list[dict[str, float]]
) -> None:
    named = 0
    for found, own in zip(judged, chances, strict=True):
        for factor in found.factors:
            if factor.name not in WORDINGS:
                continue
            sure = found.confidence >= SURE
            of = [found.category] if sure else QUESTIONS
            assert factor.name.startswith(TASKS[found.category] if sure else QUESTION), (factor, found)
            assert factor.value == pytest.approx(probability(own, of), abs=1e-3)
            assert factor.value >= SURE
            named += 1

    assert named > len(judged) / 2


def test_of_the_named_categories_19_in_20_are_right(classifier: Classifier) -> None:
    requests = corpus.load("development")
    found = classifier.classify([reading(request) for request in requests])
    right = [
        request.category == one.category
        for request, one in zip(requests, found, strict=True)
        if one.confidence >= SURE
    ]

    assert np.mean(right) >= 0.95


def score(weights: Heads, vectors: words.Vectors, own: Words) -> float:
    """What the words of a request add to its score, by the definition."""
    whole, first, last = (words.mean(sums)[SCORE] for sums in vectors.parts(own))
    return float(whole + END_WEIGHT * (first + last))


def observed(seen: Observation, feature: str) -> float:
    value = float(seen.features[INDEX[feature]])
    return float(np.expm1(value)) if feature in COUNTED else value


def without(seen: Observation, kind: str) -> Words:
    """The words of a request but those of one kind."""
    return Words(
        *(
            tuple(word for word in part if seen.kinds.get(word) != kind)
            for part in (seen.words.whole, seen.words.first, seen.words.last)
        )
    )


def test_the_score_loses_what_the_largest_reason_contributes_when_it_is_taken_out(
    weights: Heads, embedder: Embedder, classifier: Classifier
) -> None:
    """What is counted is set to what is usual; the wording is what is left above the threshold without the others."""
    vectors = words.Vectors(weights.tables)
    bound = np.log(weights.threshold / (1 - weights.threshold))
    tried = 0
    for one, found in zip(READINGS, classifier.classify(READINGS), strict=True):
        seen = observe(one, embedder)
        # What outcomes say is in no words and no counts.
        if seen.features[INDEX["options"]] or seen.features[INDEX["story_sum"]]:
            continue
        counted = dict(
            zip(NAMES, weights.standardize(seen.features[None])[0] * weights.inputs[:, SCORE], strict=True)
        )
        whole = score(weights, vectors, seen.words) + sum(counted.values()) + weights.biases[SCORE]
        if not found.factors:
            continue
        largest = found.factors[0]
        if largest.name in SAID:
            feature = SAID[largest.name][0]
            left = score(weights, vectors, without(seen, feature))
            lost = counted[feature] + score(weights, vectors, seen.words) - left
        elif any(observed(seen, feature) >= saying.least for feature, saying in SAYINGS.items()):
            continue
        else:
            lost = whole - bound
        assert lost == pytest.approx(largest.contribution, abs=0.05), (one.question[:80], largest)
        assert bool(lost >= 0) is found.powerful
        tried += 1

    assert tried > 0.3 * len(READINGS)


def told_in(text: str) -> Reading:
    return read([Turn("user", text)])


class Reads:
    """An encoder that has one opinion on everything."""

    def __init__(self, log_odds: float) -> None:
        self._opinion = Opinion(np.full(3, log_odds, np.float32), np.zeros(12, np.float32))

    def read(self, text: str) -> Opinion:
        del text
        return self._opinion


@pytest.mark.parametrize("log_odds", [-6.0, 6.0])
def test_what_an_encoder_says_is_told_where_it_decides(
    weights: Heads, embedder: Embedder, log_odds: float
) -> None:
    deep = Classifier(weights, embedder, deep=(Reads(log_odds), Stack(0.5, 1.0, 0.0, 0.0, 1.0)))
    plain = Classifier(weights, embedder)
    turned = 0
    for alone, found in zip(plain.classify(READINGS), deep.classify(READINGS), strict=True):
        names = {factor.name for factor in found.factors}
        assert {factor.contribution >= 0 for factor in found.factors} <= {found.powerful}
        assert names <= {*SAID, *WORDINGS, *EFFORT, *EXAM, MEANING[log_odds < 0]}
        if alone.powerful is not found.powerful:
            assert MEANING[log_odds < 0] in names
            turned += 1

    assert turned > 0


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
