"""Reasons are what a person would say: of what is there, with the sign that it has."""

from pathlib import Path

import pytest

from services.classifier.classify import Classification, Classifier
from services.classifier.features import NAMED
from services.classifier.heads import CATEGORIES, Heads
from services.classifier.reading import Turn, read
from services.classifier.reasons import EFFORT, TASKS, TOPIC

TEXTS = [
    line.split("\t")[2].replace("\\n", "\n")
    for line in (Path(__file__).parent / "everyday.tsv").read_text("utf-8").splitlines()
    if line
]
LITTLE = {few for _, few in NAMED.values() if few} | {NAMED["variety"][0], NAMED["word_chars"][0]}


@pytest.fixture
def judged(classifier: Classifier) -> list[Classification]:
    return classifier.classify([read([Turn("user", text)]) for text in TEXTS])


def test_a_kind_of_task_adds_its_prior(judged: list[Classification], weights: Heads) -> None:
    usual = float(weights.prior.mean())
    named = [(found, factor) for found in judged for factor in found.factors if factor.name in TASKS.values()]

    assert len(named) > 80
    for found, factor in named:
        assert factor.name == TASKS[found.category]
        prior = float(weights.prior[CATEGORIES.index(found.category)])
        assert (factor.contribution > 0) == (prior > usual)
        assert factor.value == pytest.approx(found.confidence, abs=0.001)


def test_what_is_absent_is_no_reason(judged: list[Classification]) -> None:
    for found in judged:
        for factor in found.factors:
            if factor.name in {*TASKS.values(), *LITTLE, *EFFORT, TOPIC}:
                continue
            assert factor.value > 0, factor


def test_only_a_question_for_an_amount_is_short_of_steps(classifier: Classifier) -> None:
    proof, amount = classifier.classify(
        [
            read([Turn("user", "Prove that the sum of two odd numbers is even.")]),
            read([Turn("user", "How many eggs are in 3 boxes of 6?")]),
        ]
    )

    assert EFFORT[1] not in [factor.name for factor in proof.factors]
    assert EFFORT[1] in [factor.name for factor in amount.factors]


def test_a_subject_is_for_questions_that_have_one(classifier: Classifier) -> None:
    talk, physics = classifier.classify(
        [
            read([Turn("user", "Plan a healthy week of meals for my family")]),
            read(
                [
                    Turn(
                        "user",
                        "A charge of 3 nC moves through a magnetic field of 2 T. What force acts on it?",
                    )
                ]
            ),
        ]
    )

    assert talk.subject == ""
    assert physics.subject == "physics"
