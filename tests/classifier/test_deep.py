"""The fine-tuned encoder of the deep version."""

from pathlib import Path

import numpy as np
import pytest

from services.classifier.deep import Encoder, legible
from services.classifier.heads import CATEGORIES


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


HARD = (
    "Design a sharded exactly-once ledger tolerant to Byzantine clients; compare three protocols by cost and proof.",
    "Derive the Kalman filter update from Bayes' rule and prove that the gain minimizes the trace of the covariance.",
    "A contract governed by New York law has a limitation clause conflicting with an indemnity. Analyse which prevails.",
)
EASY = ("what is 15 % of 80?", "sort these five names: Bo, Al, Cy, Di, Ed", "write a haiku about rain")


@pytest.mark.parametrize("easy", EASY)
@pytest.mark.parametrize("hard", HARD)
def test_the_harder_request_is_called_harder(encoder: Encoder, easy: str, hard: str) -> None:
    harder, easier = encoder.read(hard), encoder.read(easy)

    assert harder is not None
    assert easier is not None
    assert (harder.levels > easier.levels).all()


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Translate into French: the shop opens at nine.", "translation"),
        ("Write a Python function that reverses a linked list.", "code"),
        (
            "Summarize this mail in one sentence: the meeting moved to Friday, bring the plans.",
            "summarization",
        ),
    ],
)
def test_what_kind_of_task_it_is(encoder: Encoder, text: str, category: str) -> None:
    opinion = encoder.read(text)

    assert opinion is not None
    assert CATEGORIES[int(opinion.categories.argmax())] == category


@pytest.mark.parametrize(
    "text", ["", " ", "\ud800", "\x00", "word " * 100_000, "a" * 5_000_000, "é" * 5_000_000]
)
def test_any_text_gets_finite_numbers(encoder: Encoder, text: str) -> None:
    opinion = encoder.read(text)

    assert opinion is not None
    assert opinion.levels.shape == (3,)
    assert np.isfinite(opinion.levels).all()
    assert np.isfinite(opinion.categories).all()


def test_the_middle_of_a_long_text_is_not_read(encoder: Encoder) -> None:
    beginning, end = "Prove the theorem. " * 60, " Prove the lemma." * 60

    one, other = encoder.read(beginning + "x " * 5000 + end), encoder.read(beginning + "y " * 9000 + end)

    assert one is not None
    assert other is not None
    assert np.array_equal(one.levels, other.levels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Übersetze ‘größer’ bitte, naïvely", True),
        ("What does добро mean in this long English sentence?", True),
        ("Докажите теорему о среднем", False),
        ("証明してください", False),
        ("12 + 30 = ?", True),
        ("∑ √ ≤ 30", True),
    ],
)
def test_only_latin_letters_are_legible(encoder: Encoder, text: str, expected: bool) -> None:
    assert legible(text) is expected
    assert (encoder.read(text) is not None) is expected


def test_a_folder_without_an_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        Encoder(tmp_path)
