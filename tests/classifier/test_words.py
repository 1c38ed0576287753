"""What words say: the same in serving as in training, remembered, and bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier import words
from services.classifier.words import REMEMBERED, Table, Vectors, grams, mean, split

HEADS = 3


def tables(*texts: str) -> list[Table]:
    """One table for each part, that knows every n-gram of some texts."""
    digests = np.unique([gram for text in texts for word in split(text).whole for gram in grams(word)])
    draw = np.random.default_rng(0)
    return [
        Table(
            digests.astype(np.uint32),
            draw.uniform(1, 5, len(digests)).astype(np.float32),
            draw.integers(-127, 128, (len(digests), HEADS), np.int8),
            draw.uniform(0.001, 0.01, HEADS).astype(np.float32),
        )
        for _ in words.PARTS
    ]


def test_a_text_is_its_distinct_words_numerals_and_signs_and_those_at_its_ends() -> None:
    found = split("the cat sat, the cat ran 3 km." + " on" * 40 + " to its bed!")

    assert found.whole == ("the", "cat", "sat", ",", "ran", "3", "km", ".", "on", "to", "its", "bed", "!")
    assert found.first == ("the", "cat", "sat", ",", "ran", "3", "km", ".", "on")
    assert found.last == ("on", "to", "its", "bed", "!")


def test_scripts_without_spaces_are_read_in_runs() -> None:
    assert split("写诗a b").whole == ("写", "写诗", "诗", "a", "b")
    assert len(grams("写诗")) == 1


def test_the_n_grams_of_a_word_are_framed_and_none_is_longer_than_five() -> None:
    # " ab " as a whole, three pairs, two triples and itself once more as four letters.
    assert len(grams("ab")) == 1 + 3 + 2 + 1
    assert grams("ab")[0] == grams("ab")[-1]
    assert len(grams("x" * 1000)) == len(grams("x" * 41))


def test_what_words_add_is_the_sum_over_their_n_grams_by_the_length_of_the_text() -> None:
    [whole, *_] = own = tables("prove it", "proven")
    [sums, *_] = Vectors(own).parts(split("prove it prove"))
    places = [int(np.searchsorted(whole.digests, gram)) for word in ("prove", "it") for gram in grams(word)]
    weights = whole.weights[places] * whole.scales
    expected = (weights * whole.rarity[places, None]).sum(axis=0)

    assert mean(sums) == pytest.approx(expected / np.sqrt((whole.rarity[places] ** 2).sum()), rel=1e-5)


def test_n_grams_without_weights_say_nothing() -> None:
    parts = Vectors(tables("abc")).parts(split("zzzz 🜁"))

    assert [mean(sums).tolist() for sums in parts] == [[0.0] * HEADS] * 3


def test_words_are_forgotten_when_the_memory_is_full_and_say_the_same_again() -> None:
    vectors = Vectors(tables("river stone"))
    before = mean(vectors.parts(split("river stone"))[0])
    for start in range(0, REMEMBERED + 500, 500):
        vectors.parts(split(" ".join(f"w{number}" for number in range(start, start + 500))))

    assert mean(vectors.parts(split("river stone"))[0]) == pytest.approx(before)


@given(st.text(st.characters(blacklist_categories=()), max_size=500))
def test_any_text_has_words(text: str) -> None:
    vectors = Vectors(tables("some words"))

    assert all(np.isfinite(mean(sums)).all() for sums in vectors.parts(split(text.lower())))


def test_arrays_that_do_not_fit_together_are_no_table() -> None:
    one, three = np.zeros(2, np.float32), np.ones(3, np.float32)
    weights = np.zeros((2, 3), np.int8)
    with pytest.raises(ValueError, match="do not fit"):
        Table(np.array([2, 1], np.uint32), one, weights, three)
    with pytest.raises(ValueError, match="do not fit"):
        Table(np.array([1, 2], np.uint32), one[:1], weights, three)
    with pytest.raises(ValueError, match="do not fit"):
        Table(np.array([1, 2], np.uint32), one, weights, three[:2])
