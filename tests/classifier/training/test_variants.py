"""The same request as others would put it: what is asked stays."""

import random
import re
from collections import Counter

import pytest

from services.classifier.courtesy import sentences
from services.classifier.training import corpus, variants
from services.classifier.training.variants import (
    MEASURED,
    TRAINED,
    Variant,
    preamble,
    reordered,
    thanks,
    trained_preamble,
    typos,
)

TEXT = "Please sort these names. Put the longest last! Which one is third?"


def test_typos_change_one_word_in_twenty_and_at_least_one() -> None:
    for words in (3, 100):
        text = " ".join(["river"] * words)
        changed = sum(word != "river" for word in typos(text, "en", random.Random(4)).split())
        assert 1 <= changed <= max(1, round(0.05 * words))


def test_a_text_without_letters_has_no_typos() -> None:
    assert typos("2 + 2 = ?", "en", random.Random(0)) == "2 + 2 = ?"


def test_other_orders_keep_the_sentences_and_the_lines() -> None:
    text = f"{TEXT}\ndef f(x): return x. y"
    found = reordered(text, "en", random.Random(1))

    assert found != text
    assert Counter(re.findall(r"\w+", found)) == Counter(re.findall(r"\w+", text))
    assert found.count("\n") == 1


@pytest.mark.parametrize("variant", [trained_preamble, preamble])
def test_every_language_of_the_corpus_has_preambles(variant: Variant) -> None:
    for language in {request.language for request in corpus.load("train")}:
        polite = variant(TEXT, language, random.Random(0))
        assert polite.endswith(f" {TEXT}")
        assert len(polite) > len(TEXT) + 10


@pytest.mark.parametrize("use", ["training", "evaluation"])
def test_every_language_of_the_corpus_has_thanks(use: str) -> None:
    for language in {request.language for request in corpus.load("train")}:
        assert thanks(use)(TEXT, language, random.Random(0)).startswith(f"{TEXT} ")


def test_what_is_measured_was_not_trained_on() -> None:
    known = set(variants.trained())
    for language in {request.language for request in corpus.load("train")}:
        for text in variants.preambles(language):
            assert not known & {sentence.strip() for sentence in sentences(text)}


def test_a_variant_is_the_same_for_the_same_draw() -> None:
    for variant in (*TRAINED, *MEASURED.values()):
        assert variant(TEXT, "en", random.Random(7)) == variant(TEXT, "en", random.Random(7))
