"""Several versions beside each other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.classifier.classify import Classifier, Versions
from services.classifier.embedding import Embedder
from services.classifier.heads import Heads
from services.classifier.reading import Reading, Turn, read


class Counting(Embedder):
    """An embedder that counts the questions it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0

    def embed(self, words: Sequence[str]) -> NDArray[np.float32]:
        self.questions += 1
        return super().embed(words)


def ask(text: str) -> Reading:
    return read([Turn("user", text)])


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def pair(weights: Heads, counting: Counting) -> tuple[Classifier, Classifier]:
    other = replace(weights, version="other", win_bias=weights.win_bias + 1.0)
    return Classifier(weights, counting), Classifier(other, counting)


def test_two_versions_judge_what_is_looked_at_once(
    pair: tuple[Classifier, Classifier], counting: Counting
) -> None:
    one, two = pair
    seen = one.look([ask("What is the tallest mountain?"), ask("hi"), ask("hi")])
    first, second = one.judge(seen), two.judge(seen)

    assert counting.questions == 2
    assert [found.version for found in (*first, *second)] == ["v1"] * 3 + ["other"] * 3
    assert first[1] is first[2]
    assert all(b.strong_win_rate > a.strong_win_rate for a, b in zip(first, second, strict=True))


def test_judging_together_is_judging_alone(
    weights: Heads, embedder: Embedder, pair: tuple[Classifier, Classifier]
) -> None:
    one, two = pair
    readings = [ask("Prove that there are infinitely many primes"), ask("hello")]
    seen = one.look(readings)
    one.judge(seen)
    alone = Classifier(two.weights, embedder).classify(readings)

    assert [found.strong_win_rate for found in two.judge(seen)] == [found.strong_win_rate for found in alone]


def test_each_version_remembers_for_itself(pair: tuple[Classifier, Classifier], counting: Counting) -> None:
    one, two = pair
    [first] = one.classify([ask("What is the tallest mountain?")])
    seen = one.look([ask("What is the tallest mountain?")])

    assert one.judge(seen) == [first]
    assert counting.questions == 1
    [second] = two.judge(seen)
    assert counting.questions == 2
    assert second.version == "other"
    assert two.judge(two.look([ask("What is the tallest mountain?")])) == [second]
    assert counting.questions == 2


@pytest.mark.parametrize("shares", [[float("nan")], [0.5, float("nan")], [0.0, 0.0], []])
def test_shares_that_are_no_numbers_or_nothing_are_refused(
    weights: Heads, embedder: Embedder, shares: list[float]
) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        Versions([(Classifier(weights, embedder), share) for share in shares])
