"""The corpus is what its card says: labelled, balanced, split by writer, and not to be judged by length."""

from collections import Counter

import pytest

from services.classifier.heads import CATEGORIES
from services.classifier.training.corpus import (
    LEVELS,
    PARTS,
    Request,
    kappa,
    length_alone,
    load,
    near_duplicates,
)

CORPUS = {part: load(part) for part in PARTS}
EVERYTHING = [request for part in CORPUS.values() for request in part]


def request(text: str, level: int = 1) -> Request:
    return Request("x", (("user", text),), "other", level, "en", "w", "plain")


def test_a_writer_is_in_one_part_alone() -> None:
    writers = [{one.writer for one in requests} for requests in CORPUS.values()]

    assert len(set.union(*writers)) == sum(map(len, writers))


def test_no_request_stands_in_two_parts_or_twice_by_one_writer() -> None:
    # Independent hands do write "count to five" alike.
    written = Counter((one.turns, one.writer) for one in EVERYTHING)
    parts = Counter(turns for requests in CORPUS.values() for turns in {one.turns for one in requests})

    assert [] == [turns for turns, count in [*written.items(), *parts.items()] if count > 1]


@pytest.mark.parametrize("part", PARTS)
def test_every_category_has_all_levels_in_every_part(part: str) -> None:
    counts = Counter((one.category, one.level) for one in CORPUS[part])

    assert {(category, level) for category in CATEGORIES for level in LEVELS} == set(counts)
    assert max(counts.values()) < 2 * min(counts.values())


def test_two_fifths_are_english_and_seventeen_languages_share_the_rest() -> None:
    languages = Counter(one.language for one in EVERYTHING)

    assert 0.4 < languages.pop("en") / len(EVERYTHING) < 0.55
    main = [count for count in languages.values() if count >= 30]
    assert 17 == len(main)
    assert max(main) < 2.5 * min(main)


@pytest.mark.parametrize("category", CATEGORIES)
def test_length_does_not_tell_the_tier(category: str) -> None:
    assert length_alone([one for one in EVERYTHING if one.category == category]) < 0.66


def test_the_best_threshold_on_length_is_found_in_either_direction() -> None:
    short_hard = [request("x" * n, level) for n, level in ((1, 4), (2, 4), (3, 1), (4, 1), (5, 4))]

    assert 0.8 == length_alone(short_hard)
    assert 1.0 == length_alone([request("x", 1), request("xxx", 4)])


def test_two_hands_agree_beyond_chance() -> None:
    twice = [(one.level, one.second[0]) for one in EVERYTHING if one.second]

    assert len(twice) > 700
    assert kappa(twice) > 0.8
    assert 0.0 == kappa([(1, 1), (1, 2), (2, 1), (2, 2)])


def test_a_copy_is_found_and_a_shared_phrase_is_not() -> None:
    public = ["how many of the twelve grey geese fly south when the first snow falls on the lake"]
    copied = request("Hey, how many of the twelve grey geese fly south when the first snow falls?")
    other = request(
        "how many of the twelve grey geese fly south, and what do the other birds do all winter long?"
    )

    assert [copied.text] == [text for text, _ in near_duplicates([copied, other], public)]
