"""Several versions beside each other."""

from dataclasses import replace

import numpy as np
import pytest

from services.classifier import classify, features
from services.classifier.classify import Classifier, Versions
from services.classifier.embedding import Embedder
from services.classifier.heads import Heads
from services.classifier.reading import Reading, Turn, read


def ask(text: str) -> Reading:
    return read([Turn("user", text)])


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that are observed, as often as they are."""
    questions: list[str] = []

    def observe(one: Reading, embedder: Embedder) -> features.Observation:
        questions.append(one.question)
        return features.observe(one, embedder)

    monkeypatch.setattr(classify, "observe", observe)
    return questions


@pytest.fixture
def pair(weights: Heads, embedder: Embedder) -> tuple[Classifier, Classifier]:
    other = replace(weights, version="other", biases=weights.biases + np.float32(1.0))
    return Classifier(weights, embedder), Classifier(other, embedder)


def test_two_versions_judge_what_is_looked_at_once(
    pair: tuple[Classifier, Classifier], observed: list[str]
) -> None:
    one, two = pair
    seen = one.look([ask("What is the tallest mountain?"), ask("hi"), ask("hi")])
    first, second = one.judge(seen), two.judge(seen)

    assert observed == ["What is the tallest mountain?", "hi"]
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


def test_each_version_remembers_for_itself(pair: tuple[Classifier, Classifier], observed: list[str]) -> None:
    one, two = pair
    [first] = one.classify([ask("What is the tallest mountain?")])
    seen = one.look([ask("What is the tallest mountain?")])

    assert one.judge(seen) == [first]
    assert len(observed) == 1
    [second] = two.judge(seen)
    assert len(observed) == 2
    assert second.version == "other"
    assert two.judge(two.look([ask("What is the tallest mountain?")])) == [second]
    assert len(observed) == 2


@pytest.mark.parametrize("shares", [[float("nan")], [0.5, float("nan")], [0.0, 0.0], []])
def test_shares_that_are_no_numbers_or_nothing_are_refused(
    weights: Heads, embedder: Embedder, shares: list[float]
) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        Versions([(Classifier(weights, embedder), share) for share in shares])
