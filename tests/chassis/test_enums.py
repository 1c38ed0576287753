import pytest
from lumni.classifier.v1 import classifier_pb2

from services.chassis.enums import number, word


@pytest.mark.parametrize("enum", [classifier_pb2.Category, classifier_pb2.Tier])
def test_every_value_is_found_again_by_its_word(enum: object) -> None:
    values = enum.values()  # type: ignore[attr-defined]
    assert values == [number(enum, word(enum, value)) for value in values]
    assert None is word(enum, 0)


@pytest.mark.parametrize("written", ["", None, "unheard_of"])
def test_a_word_of_no_value_is_unspecified(written: str | None) -> None:
    assert number(classifier_pb2.Tier, written) == classifier_pb2.TIER_UNSPECIFIED


def test_words_have_no_prefix() -> None:
    assert word(classifier_pb2.Tier, classifier_pb2.TIER_POWERFUL) == "powerful"
