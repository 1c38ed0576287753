"""How often the semantic cache would be wrong, and how often useful, on pairs of questions written by others (questions/README.md)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from services.classifier.embedding import Embedder
from services.gateway.cache.semantic import signature
from services.gateway.cache.semantic.same_question import read, same

DATA = Path(__file__).parent / "questions"
HALVES = (1, 2)
# Of 150 paraphrases in each half, of which 90 are English. The first half is what the wording was made with.
FOUND = {1: 16, 2: 9}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def pairs(name: str, count: int) -> list[dict[str, str]]:
    found = [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
    assert count == len(found)
    return found


def about(text: str, embedder: Embedder) -> bytes:
    return signature.of(embedder.embed_text(read(text).form).tolist())


def answered(pair: dict[str, str], embedder: Embedder) -> bool:
    """Whether the second question gets the answer to the first."""
    near = signature.nearest(about(pair["b"], embedder), [about(pair["a"], embedder)])
    return bool(near) and same(read(pair["a"]), read(pair["b"]))


@pytest.mark.parametrize(("part", "count"), [(1, 250), (2, 250), (3, 283)])
def test_no_near_miss_is_answered(part: int, count: int, embedder: Embedder) -> None:
    wrong = [pair for pair in pairs(f"near_{part}.jsonl", count) if answered(pair, embedder)]
    assert [] == wrong


def test_what_a_reviewer_tried_is_refused_by_its_words_alone() -> None:
    tried = pairs("near_3.jsonl", 283)
    assert [] == [pair for pair in tried if same(read(pair["a"]), read(pair["b"]))]
    assert [] == [pair for pair in tried if same(read(pair["b"]), read(pair["a"]))]


@pytest.mark.parametrize("half", HALVES)
def test_so_many_paraphrases_are_answered(half: int, embedder: Embedder) -> None:
    found = Counter(pair["language"] for pair in pairs(f"same_{half}.jsonl", 150) if answered(pair, embedder))
    assert found.total() >= FOUND[half], found


def test_the_right_question_is_among_the_few_that_are_read(embedder: Embedder) -> None:
    every = [pair for half in HALVES for pair in pairs(f"same_{half}.jsonl", 150)]
    asked = [about(pair["a"], embedder) for pair in every]
    missed = [
        pair
        for place, pair in enumerate(every)
        if answered(pair, embedder) and place not in signature.nearest(about(pair["b"], embedder), asked)
    ]
    assert [] == missed
