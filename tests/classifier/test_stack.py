"""The deep version: heads and sentence encoder together."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from services.classifier import encoder_thread
from services.classifier.classify import Classifier, deepened
from services.classifier.deep import Encoder
from services.classifier.embedding import Embedder
from services.classifier.encoder_thread import SKIPPED, EncoderThread
from services.classifier.heads import CATEGORIES
from services.classifier.reading import Reading, Turn, read
from services.classifier.reasons import MEANING, SURE
from services.classifier.stack import Opinion, Stack
from services.classifier.training import corpus
from services.classifier.training.train import reading

# The share of the development part in English whose tier is right, and what chance may take of it.
TIER_RIGHT, CHANCE = 0.956, 0.026


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def deep(embedder: Embedder, encoder: Encoder) -> Classifier:
    return deepened(embedder, encoder)


def ask(text: str) -> Reading:
    return read([Turn("user", text)])


def test_it_is_right_as_often_as_the_documents_say(deep: Classifier) -> None:
    requests = [request for request in corpus.load("development") if request.language == "en"]
    found = deep.classify([reading(request) for request in requests])
    right = [one.powerful == request.powerful for one, request in zip(found, requests, strict=True)]

    assert sum(right) / len(right) >= TIER_RIGHT - CHANCE
    assert {one.version for one in found} == {"deep"}


def test_the_encoder_counts_by_as_much_as_its_reason_says(deep: Classifier, classifier: Classifier) -> None:
    requests = [reading(request) for request in corpus.load("development") if request.language == "en"]
    both, told, request = next(
        (found, factor, request)
        for found, request in zip(deep.classify(requests), requests, strict=True)
        for factor in found.factors
        if factor.name in MEANING
    )
    [fast] = classifier.classify([request])

    def above(rate: float) -> float:
        bound = classifier.weights.threshold
        return float(np.log(rate / (1 - rate)) - np.log(bound / (1 - bound)))

    assert told.contribution == pytest.approx(
        above(both.strong_win_rate) - Stack.load().heads * above(fast.strong_win_rate), abs=1e-3
    )
    assert [factor.contribution for factor in both.factors] == sorted(
        (factor.contribution for factor in both.factors), key=lambda value: -abs(value)
    )


def test_what_the_encoder_cannot_read_is_judged_by_the_heads(
    deep: Classifier, classifier: Classifier
) -> None:
    request = ask("Докажите теорему о среднем значении и приведите контрпример")
    [fast], [both] = classifier.classify([request]), deep.classify([request])

    assert "deep" == both.version
    assert both.strong_win_rate == fast.strong_win_rate
    assert both.factors == fast.factors


def test_categories_of_both_are_probabilities() -> None:
    shares = np.full(len(CATEGORIES), 1 / len(CATEGORIES), np.float32)
    opinion = Opinion(np.zeros(3, np.float32), np.arange(len(CATEGORIES), dtype=np.float32))
    joined = Stack(1.0, 1.0, 0.0, 0.5, 1.0).shares(shares, opinion)
    blunt = Stack(1.0, 1.0, 0.0, 0.5, 0.5).shares(shares, opinion)

    assert joined.sum() == pytest.approx(1.0)
    assert (np.diff(joined) > 0).all()
    assert (np.diff(blunt) > 0).all()
    assert blunt.max() < joined.max()


def test_of_the_categories_that_both_are_sure_of_19_in_20_are_right(deep: Classifier) -> None:
    requests = corpus.load("development")
    found = deep.classify([reading(request) for request in requests])
    right = [
        request.category == one.category
        for request, one in zip(requests, found, strict=True)
        if one.confidence >= SURE
    ]

    assert len(right) > len(requests) / 2
    assert np.mean(right) >= 0.95


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"heads": 1}', '{"heads": NaN, "encoder": 1, "bias": 0, "categories": 1, "sharpness": 1}'],
)
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=str(path)):
        Stack.load(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    stack = Stack(0.5, 0.25, -0.125, 0.75, 0.8)
    stack.save(tmp_path / "deep.json")

    assert Stack.load(tmp_path / "deep.json") == stack


class Slow:
    """An encoder that waits until it may go on, and remembers what it read."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.texts: list[str] = []
        self.held = False

    def read(self, text: str) -> Opinion | None:
        while self.held:
            time.sleep(0.001)
        self.texts.append(text)
        return self.encoder.read(text)

    @contextmanager
    def hold(self) -> Iterator[None]:
        self.held = True
        try:
            yield
        finally:
            self.held = False


async def test_a_single_request_does_not_wait_for_all_of_a_batch(
    embedder: Embedder, encoder: Encoder
) -> None:
    slow = Slow(encoder)
    deep = deepened(embedder, slow)
    queue = EncoderThread()
    with slow.hold():
        batch = asyncio.create_task(queue.opinions(deep, deep.look([ask(f"batch {n}") for n in range(20)])))
        await asyncio.sleep(0)
        single = asyncio.create_task(queue.opinions(deep, deep.look([ask("single")])))
        await asyncio.sleep(0)
    await asyncio.gather(batch, single)

    assert slow.texts.index("single") == 1
    # The rest of the batch would wait for longer than the gateway does.
    assert len(slow.texts) == encoder_thread.MOST_OF_BATCH + 1


class Broken:
    """An encoder that fails."""

    def read(self, text: str) -> Opinion | None:
        raise MemoryError


async def test_a_failing_encoder_costs_a_request_its_opinion_alone(embedder: Embedder) -> None:
    queue = EncoderThread()
    deep = deepened(embedder, Broken())
    seen = deep.look([ask("Prove it."), ask("What is 15 % of 80?")])
    before = SKIPPED._value.get()

    await queue.opinions(deep, seen)

    assert [True, False] == [judged.powerful for judged in deep.judge(seen)]
    assert SKIPPED._value.get() == before + 2
    assert queue._waiting == 0


async def test_who_comes_while_too_many_wait_is_judged_by_the_heads_and_not_remembered(
    embedder: Embedder, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_thread, "MOST_WAITING", 1)
    slow = Slow(encoder)
    deep = deepened(embedder, slow)
    queue = EncoderThread()
    before = SKIPPED._value.get()
    with slow.hold():
        first = asyncio.create_task(queue.opinions(deep, deep.look([ask("first")])))
        await asyncio.sleep(0)
        seen = deep.look([ask("Prove it.")])
        await queue.opinions(deep, seen)
        [skipped] = deep.judge(seen)
    await first
    [again] = deep.classify([ask("Prove it.")])

    assert SKIPPED._value.get() == before + 1
    assert ("v1", "deep") == (skipped.version, again.version)
    assert again.strong_win_rate != skipped.strong_win_rate
    assert not any(factor.name in MEANING for factor in skipped.factors)
