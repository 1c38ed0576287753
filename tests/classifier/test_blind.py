"""Requests by people who had not seen the templates that the classifier is trained on, nor its tests.

`blind.tsv`: 120 lines of tier, categories that are right, language, request. Nothing may be tuned to it, or it tells
nothing. `requests.tsv`: 1,956 lines of category, language, request; the words of lexicon.tsv in other languages than
English were chosen with these at hand. The counts are what docs/routing.md says.
"""

from pathlib import Path

import pytest

from services.classifier.classify import Classification, Classifier
from services.classifier.reading import Turn, read

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


@pytest.mark.parametrize(("english", "categories", "languages"), [(True, 0.71, 0.90), (False, 0.73, 0.90)])
def test_requests_in_sixteen_languages_are_judged_as_the_documents_say(
    classifier: Classifier, english: bool, categories: float, languages: float
) -> None:
    rows = [row for row in table("requests.tsv") if (row[1] == "en") == english]
    judged = judge(classifier, rows)

    assert sum(found.category == row[0] for row, found in judged) >= categories * len(rows)
    assert sum(found.language == row[1] for row, found in judged) >= languages * len(rows)
