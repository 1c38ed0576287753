"""What training is made of; the training itself needs the public data and is run by `make train-classifier`."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from services.classifier.heads import CATEGORIES, SUBJECTS
from services.classifier.training import holdout, phrases, train
from services.classifier.training.examples import DEVELOPMENT, RULES, check, instruction


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
    reported = train.development(data)

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
    text = train.four_choices(row, np.random.default_rng(3))

    assert text.startswith("Which?\nA. ")
    assert text.endswith("\nAnswer:")
    assert ". six\n" in text
    assert text.count("\n") == 5


def test_our_own_requests_cover_every_category_and_are_the_same_each_time() -> None:
    made = list(phrases.requests(50, 0))

    assert {category for _, category in made} == set(CATEGORIES)
    assert made == list(phrases.requests(50, 0))
    assert not any("{" + name + "}" in text for text, _ in made for name in phrases.TOPICS)


def test_the_questions_of_subjects_name_subjects() -> None:
    assert {subject for _, subject in phrases.subject_questions()} <= set(SUBJECTS)


def test_every_category_has_a_prior() -> None:
    assert set(train.PRIORS) == set(CATEGORIES)


def test_a_task_is_read_as_a_user_would_send_it() -> None:
    assert (
        instruction({"instruction": "Shorten.", "instances": [{"input": "Long text"}]})
        == "Shorten.\n\nLong text"
    )
    assert instruction({"instruction": "Sing.", "instances": []}) == "Sing."


def test_rules_over_instructions_name_categories() -> None:
    assert {category for category, _ in RULES} <= set(CATEGORIES)
