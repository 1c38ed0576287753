"""The core: any text is judged, the same one always the same way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.classifier import classify, heads
from services.classifier.classify import Classifier, Versions
from services.classifier.embedding import WORDS_REMEMBERED, Embedder
from services.classifier.features import INDEX, NAMES, observe
from services.classifier.heads import CATEGORIES, SUBJECTS, Heads
from services.classifier.reading import Reading, Turn, read

EMBEDDER = Embedder()
WEIGHTS = heads.load(Path(heads.__file__).parent / "weights" / "v1.npz")
ANY_TEXT = st.text(st.characters(blacklist_categories=()), max_size=3000)


def ask(text: str, **more: Any) -> Reading:
    return read([Turn("user", text, **more)])


@given(ANY_TEXT)
@example("")
@example("\x00\x01\x02")
@example("\ud800 broken \udfff")
@example("```" * 1000)
@example("((((" * 500 + "A. x\nB. y\n" * 100)
@example("_" * 2000)
@example("$" * 2000 + "\\" * 2000)
def test_any_text_is_judged(text: str) -> None:
    [found] = Classifier(WEIGHTS, EMBEDDER).classify([ask(text)])

    assert 0.0 <= found.strong_win_rate <= 1.0
    assert 0.0 <= found.confidence <= 1.0
    assert found.category in CATEGORIES
    assert found.subject in ("", *SUBJECTS)
    assert np.isfinite(found.features).all()
    assert found.features.shape == (len(NAMES),)


def test_an_empty_question_is_judged_without_confidence(classifier: Classifier) -> None:
    [found] = classifier.classify([ask("")])

    assert found.confidence == 0.0
    assert not found.powerful


def test_a_batch_is_judged_as_each_alone(weights: Heads) -> None:
    readings = [ask(text) for text in ("hi", "Solve x^2 = 4", "hi", "Write a poem about the sea")]
    together = Classifier(weights, EMBEDDER).classify(readings)
    alone = [Classifier(weights, EMBEDDER).classify([reading])[0] for reading in readings]

    assert [found.category for found in together] == [found.category for found in alone]
    assert [found.strong_win_rate for found in together] == pytest.approx(
        [found.strong_win_rate for found in alone], rel=1e-5
    )


def test_an_equal_conversation_is_remembered_not_judged_again(classifier: Classifier) -> None:
    [first] = classifier.classify([ask("What is the boiling point of water?")])
    [second] = classifier.classify([ask("What is the boiling point of water?")])

    assert first is second


def test_no_more_is_remembered_than_allowed(classifier: Classifier) -> None:
    [first] = classifier.classify([ask("the first question")])
    for start in range(0, classify.REMEMBERED + 64, 64):
        classifier.classify([ask(f"question {number}") for number in range(start, start + 64)])
    [again] = classifier.classify([ask("the first question")])

    assert first is not again
    assert first.strong_win_rate == pytest.approx(again.strong_win_rate)


def test_the_embedder_forgets_words_when_it_is_full_and_still_gives_the_same() -> None:
    embedder = Embedder()
    before = embedder.embed(["river", "stone"])
    for start in range(0, WORDS_REMEMBERED + 100, 100):
        embedder.embed([f"w{number}" for number in range(start, start + 100)])

    assert np.allclose(before, embedder.embed(["river", "stone"]), atol=1e-5)


def test_an_embedding_is_the_mean_of_the_tokens_vectors() -> None:
    one, two = EMBEDDER.embed(["stone"]), EMBEDDER.embed(["river"])

    assert np.allclose(EMBEDDER.embed(["stone", "stone"]), one, atol=1e-5)
    assert not np.allclose(one, two, atol=1e-2)
    assert np.allclose(
        EMBEDDER.embed_all([["stone"], [], ["river"]]), np.stack([one, np.zeros(256), two]), atol=1e-5
    )
    assert not EMBEDDER.embed([]).any()


def test_features_count_what_they_say() -> None:
    text = "Given 3 apples at $1.50 each, which is NOT true?\nA. 12 apples\nB. 13 apples\nC. 14 apples"
    seen = dict(zip(NAMES, observe(ask(text), EMBEDDER).features, strict=True))

    assert seen["options"] == 1.0
    assert seen["money"] == pytest.approx(np.log(2))
    assert seen["numerals"] == pytest.approx(np.log(6))
    assert seen["negation"] == pytest.approx(np.log(2))
    assert seen["option_likeness"] > 0.6
    assert seen["option_numerals"] == 1.0
    assert seen["code_marks"] == 0.0


def test_tools_and_turns_are_seen() -> None:
    reading = read(
        [Turn("user", "a" * 200), Turn("assistant", "b"), Turn("user", "c" * 200)], 3, structured=True
    )
    values = observe(reading, EMBEDDER).features

    assert values[INDEX["tools"]] == pytest.approx(np.log(4))
    assert values[INDEX["turns"]] == pytest.approx(np.log(2))
    assert values[INDEX["structured"]] == 1.0


def test_a_threshold_of_the_operator_replaces_the_weights_own(weights: Heads) -> None:
    [found] = Classifier(weights, EMBEDDER, threshold=0.0).classify([ask("hi")])
    assert found.powerful

    [found] = Classifier(weights, EMBEDDER, threshold=1.0).classify(
        [ask("Prove Fermat's last theorem step by step")]
    )
    assert not found.powerful


def test_versions_get_their_shares_and_a_request_keeps_its_version(weights: Heads) -> None:
    one, two = Classifier(weights, EMBEDDER), Classifier(replace(weights, version="two"), EMBEDDER)
    versions = Versions([(one, 0.8), (two, 0.2)])
    chosen = [versions.of(f"request-{number}") for number in range(5000)]

    assert 0.17 < sum(classifier is two for classifier in chosen) / 5000 < 0.23
    assert chosen == [versions.of(f"request-{number}") for number in range(5000)]


@pytest.mark.parametrize("shares", [[0.5, 0.4], [1.2, -0.2]])
def test_shares_that_do_not_add_up_are_refused(weights: Heads, shares: Any) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        Versions([(Classifier(weights, EMBEDDER), share) for share in shares])


def test_weights_are_saved_and_read_back(weights: Heads, tmp_path: Path) -> None:
    path = heads.save(replace(weights, version="copy"), tmp_path)
    again = heads.load(path)

    assert again.version == "copy"
    assert np.array_equal(again.inputs, weights.inputs)
    for found, table in zip(again.tables, weights.tables, strict=True):
        assert np.array_equal(found.digests, table.digests)
        # In bytes, with a scale for each head; and read as what they are kept in.
        assert np.abs(found.weights * found.scales - table.weights * table.scales).max() <= table.scales.max()
        assert found.weights.dtype == np.int8
        assert found.rarity.dtype == np.float16
    assert again.threshold == weights.threshold
    assert path.stat().st_size <= 8 * 1024 * 1024


def test_weights_for_other_features_are_refused(weights: Heads) -> None:
    with pytest.raises(ValueError, match="other features"):
        replace(weights, features=("a", "b"))


def test_text_without_spaces_counts_as_words_and_sentences_of_its_own() -> None:
    text = "用Python写一个函数，计算所有素数的和。不要使用外部库。请解释每一步。"
    seen = dict(zip(NAMES, observe(ask(text), EMBEDDER).features, strict=True))
    latin = dict(
        zip(NAMES, observe(ask("Add all primes in Python. Use no library."), EMBEDDER).features, strict=True)
    )

    assert seen["one_step"] == 0.0
    assert seen["word_chars"] == 6.0  # Python's
    assert seen["sentences"] == pytest.approx(np.log(5))
    assert seen["chars"] > latin["chars"]
    assert seen["variety"] < 1.0
    assert seen["code"] == pytest.approx(np.log(2))  # Python
    assert min(seen["math"], seen["negation"], seen["why"]) > 0
    assert observe(ask("你好"), EMBEDDER).features[INDEX["greetings"]] == pytest.approx(np.log(2))


@pytest.mark.parametrize("word", ["stone", "камень", "石头"])
def test_the_work_on_unknown_words_is_bounded_in_any_script(word: str) -> None:
    end = [word] * 400
    one, two = (EMBEDDER.embed([*end, *[middle] * 50, *end]) for middle in ("river", "lamp"))
    assert np.array_equal(one, two)

    one, two = (EMBEDDER.embed_all([[*end, last], [last]] * 2) for last in ("river", "lamp"))
    assert np.array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])
