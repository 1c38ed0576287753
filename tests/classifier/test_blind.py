"""Requests by hands who had not seen what the classifier is trained on, nor its tests.

`blind.tsv`: 120 lines of tier, categories that are right, language, request. Nothing may be tuned to it, or it tells
nothing. The counts are what docs/routing.md says.
"""

from pathlib import Path

import pytest

from services.classifier.classify import Classification, Classifier
from services.classifier.embedding import Embedder
from services.classifier.features import observe
from services.classifier.reading import Turn, read
from services.classifier.training import corpus
from services.classifier.training.train import reading

FOLDER = Path(__file__).parent
CATEGORIES_RIGHT, TIERS_RIGHT, LANGUAGES_RIGHT = 80, 66, 117


def table(name: str) -> list[list[str]]:
    return [line.split("\t") for line in (FOLDER / name).read_text("utf-8").splitlines() if line]


def judge(classifier: Classifier, rows: list[list[str]]) -> list[tuple[list[str], Classification]]:
    texts = [row[-1].replace("\\n", "\n") for row in rows]
    return list(zip(rows, classifier.classify([read([Turn("user", text)]) for text in texts]), strict=True))


def test_as_many_blind_requests_are_judged_right_as_the_documents_say(classifier: Classifier) -> None:
    judged = judge(classifier, table("blind.tsv"))
    decided = [(row, found) for row, found in judged if row[0] != "any"]

    assert len(judged) == 120
    assert sum(found.category in row[1].split(",") for row, found in judged) >= CATEGORIES_RIGHT
    assert sum(found.powerful == (row[0] == "powerful") for row, found in decided) >= TIERS_RIGHT
    assert sum(found.language == row[2] for row, found in judged) >= LANGUAGES_RIGHT


@pytest.mark.parametrize("english", [True, False])
def test_the_language_of_nine_requests_in_ten_is_found(embedder: Embedder, english: bool) -> None:
    requests = [request for request in corpus.load("development") if (request.language == "en") == english]
    found = [observe(reading(request), embedder).language for request in requests]

    assert sum(map(str.__eq__, found, (request.language for request in requests))) >= 0.9 * len(requests)
