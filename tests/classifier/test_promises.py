"""What docs/routing.md promises of the decision between fast and powerful."""

import pytest

from services.classifier.classify import Classifier
from services.classifier.reading import Turn, read
from services.classifier.training import corpus, variants
from services.classifier.training.train import reading

HARD = (
    "Design a sharded exactly-once ledger tolerant to Byzantine clients; compare three protocols and their costs.",
    "Derive the Kalman filter update from Bayes' rule, and say which assumption breaks for a non-linear sensor.",
    "A contract governed by New York law has a limitation clause conflicting with an indemnity. Which prevails?",
)
EASY = (
    "what is 15 % of 80?",
    "sort these five names: Zoe, Adam, Mia, Ben, Lea",
    "write a haiku about rain",
    "fix the typos: Teh cat satt on the matt.",
)
# The share of the development part whose tier was right when the committed weights were made, and that a new version
# may fall below by chance: two standard errors of 600 requests.
TIER_RIGHT, CHANCE = 0.92, 0.026


def powerful(classifier: Classifier, text: str) -> bool:
    [found] = classifier.classify([read([Turn("user", text)])])
    return found.powerful


@pytest.mark.parametrize("text", HARD)
def test_an_experts_request_is_powerful(classifier: Classifier, text: str) -> None:
    assert powerful(classifier, text)


@pytest.mark.parametrize("text", EASY)
def test_an_easy_request_is_fast_under_any_polite_preamble(classifier: Classifier, text: str) -> None:
    assert not powerful(classifier, text)
    for preamble in variants.preambles("en"):
        assert not powerful(classifier, f"{preamble} {text}"), preamble


def test_no_version_is_worse_than_the_last_one_by_more_than_chance(classifier: Classifier) -> None:
    requests = corpus.load("development")
    found = classifier.classify([reading(request) for request in requests])
    right = [one.powerful == request.powerful for one, request in zip(found, requests, strict=True)]

    assert sum(right) / len(right) >= TIER_RIGHT - CHANCE
