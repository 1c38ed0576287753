"""What training is made of; the training itself needs the public data and is run by `make train-classifier`."""

import csv
import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from services.classifier import words
from services.classifier.embedding import Embedder
from services.classifier.heads import KINDS, SUBJECTS
from services.classifier.training import corpus, holdout, outcomes, subjects, train
from services.classifier.training.data import DEVELOPMENT, check
from services.classifier.words import Table


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    for name in DEVELOPMENT.values():
        with gzip.open(tmp_path / name, "wt", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["prompt", "subject", "weak_correct", "strong_correct"])
            writer.writerow(["What is  red?\nA. a colour\nB. a fish\nAnswer:", "art", 1, 1])
    return tmp_path


def test_a_prompt_that_is_reported_on_is_known_wherever_it_turns_up(data: Path) -> None:
    reported = outcomes.reported(data)

    assert holdout.wording("what is red") in reported
    assert holdout.wording("What is blue?") not in reported


def test_nothing_is_trained_while_files_are_missing(data: Path) -> None:
    with pytest.raises(SystemExit, match=r"lacks train/mmlu_pro_correctness.csv.gz, .*docs/data.md"):
        check(data)


def test_a_question_keeps_its_right_answer_among_four() -> None:
    row = {
        "question": "Which?",
        "options": "A. one\nB. two\nC. three\nD. four\nE. five\nF. six",
        "answer": "F",
    }
    text = outcomes.four_choices(row, np.random.default_rng(3))

    assert text.startswith("Which?\nA. ")
    assert text.endswith("\nAnswer:")
    assert ". six\n" in text
    assert text.count("\n") == 5


def test_the_questions_of_subjects_name_subjects() -> None:
    found = list(subjects.questions())

    assert {subject for _, subject in found} <= set(SUBJECTS)
    assert not any("{" in text for text, _ in found)


def test_heads_say_in_serving_what_they_said_in_training(embedder: Embedder) -> None:
    told = train.sample(corpus.load("train")[::100], embedder, random.Random(0))
    made = train.design(told.seen)
    rows = made.rows(told.seen)
    columns = np.random.default_rng(0).normal(size=(rows.shape[1], KINDS.stop)).astype(np.float32)
    parts, inputs = made.split(columns)
    vectors = words.Vectors(
        [
            Table(own.digests, own.rarity, weights, np.ones(weights.shape[1], np.float32))
            for own, weights in zip(made.vocabularies, parts, strict=True)
        ]
    )

    for row, one in zip(rows @ columns, told.seen, strict=True):
        whole, first, last = map(words.mean, vectors.parts(one.words))
        counted = ((one.features - made.mean) / made.scale).clip(-4, 4) @ inputs
        served = whole + words.END_WEIGHT * (first + last) + counted
        assert served == pytest.approx(row, rel=1e-3, abs=1e-3)


def test_the_score_stands_higher_with_each_level() -> None:
    # What parts level 1 from 2, and 3 from 4, is learnt as well as the tier is.
    words, levels = csr_array(np.tile(np.eye(4), (50, 1))), np.tile([1, 2, 3, 4], 50)
    weights, bias = train.fit_score(words, levels, np.ones(200), csr_array((1, 4)))

    assert (np.diff(weights) > 1).all()
    assert (weights + bias > 0).tolist() == [False, False, True, True]


def test_the_threshold_is_where_mistakes_cost_least() -> None:
    # A level 4 below the threshold costs 3, two levels 1 above it as much; level 2 costs little.
    scores = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    levels = np.array([1, 2, 4, 1, 3])

    assert train.cheapest(scores, levels, np.ones(5)) == pytest.approx(1.5)
    assert train.cheapest(scores, np.array([1, 1, 1, 4, 4]), np.ones(5)) == pytest.approx(2.5)


def test_every_request_has_variants_that_keep_its_labels(embedder: Embedder) -> None:
    requests = corpus.load("development")[:20]
    told = train.sample(requests, embedder, random.Random(0))

    assert told.requests == [*requests, *requests, *requests]
    assert told.weights.tolist() == [1.0] * 20 + [train.VARIANT_WEIGHT] * 40
    assert [one.words for one in told.seen[:20]] != [one.words for one in told.seen[20:40]]
