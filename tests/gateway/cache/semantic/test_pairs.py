"""How often the semantic cache would be wrong, and how often useful, on pairs of questions written by others (questions/README.md)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from services.classifier.embedding import Embedder
from services.gateway.cache.semantic import signature
from services.gateway.cache.semantic.reading import same

DATA = Path(__file__).parent / "questions"
HALVES = (1, 2)
# Of 150 paraphrases in each half, of which 90 are English. The first half is what the wording was made with.
FOUND = {1: 68, 2: 39}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def pairs(name: str, count: int) -> list[dict[str, str]]:
    found = [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
    assert count == len(found)
    return found


def answered(pair: dict[str, str], embedder: Embedder) -> bool:
    """Whether the second question gets the answer to the first."""
    about = [signature.of(embedder.embed_text(pair[side]).tolist()) for side in "ab"]
    return bool(signature.nearest(about[1], about[:1])) and same(pair["a"], pair["b"])


@pytest.mark.parametrize("half", HALVES)
def test_no_near_miss_is_answered(half: int, embedder: Embedder) -> None:
    wrong = [pair for pair in pairs(f"near_{half}.jsonl", 250) if answered(pair, embedder)]
    assert [] == wrong


@pytest.mark.parametrize("half", HALVES)
def test_so_many_paraphrases_are_answered(half: int, embedder: Embedder) -> None:
    found = Counter(pair["language"] for pair in pairs(f"same_{half}.jsonl", 150) if answered(pair, embedder))
    assert found.total() >= FOUND[half], found


def test_the_right_question_is_among_the_few_that_are_read(embedder: Embedder) -> None:
    asked = [pair["a"] for half in HALVES for pair in pairs(f"same_{half}.jsonl", 150)]
    about = [signature.of(embedder.embed_text(text).tolist()) for text in asked]
    alike = [
        (place, pair["b"])
        for place, pair in enumerate(pair for half in HALVES for pair in pairs(f"same_{half}.jsonl", 150))
        if answered(pair, embedder)
    ]
    missed = [
        text
        for place, text in alike
        if place not in signature.nearest(signature.of(embedder.embed_text(text).tolist()), about)
    ]
    assert [] == missed
