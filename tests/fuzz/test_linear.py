"""No text takes longer to read than in proportion to its length: every pattern and every parser, on hostile texts."""

import re
from pathlib import Path

import pytest

from tests.fuzz.linear import (
    TAILS,
    parsers,
    patterns,
    repeated,
    running,
    searching,
    too_slow,
    unlike,
    whole_text,
)
from tests.fuzz.regex_steps import CountedPattern

PATTERNS = patterns()
WHOLE = whole_text()
PARSERS = parsers(Path())


def test_every_pattern_of_the_services_is_found() -> None:
    written = {
        "features._CODE",
        "provider_errors._SECRETS",
        "quota_headers._SPAN",
        "model_names._REVISION",
        "languages._SCRIPTS[0][1]",
    }

    assert written <= {".".join(name.split(".")[-2:]) for name in PATTERNS}


@pytest.mark.parametrize(
    "pattern",
    [
        # The estimate of tokens once searched so: each run that is one too short is read from each of its characters.
        "[A-Za-z0-9+/=]{2048,}",
        r"(\d+(?:\.\d+)?)(ms|h|m|s|d)",
        r"\s+$",
        "(a+)+$",
        "(?:a|_a|a_)*b",
    ],
)
def test_a_pattern_that_takes_more_than_linear_time_is_found(pattern: str) -> None:
    counted = CountedPattern(re.compile(pattern))

    assert too_slow(searching(counted), unlike(counted))


@pytest.mark.parametrize("pattern", [r"(?<!\d)\d++(?:ms|s)", r"\bdef \w{1,64}", "[a-z]*+!?", "(?:ab)*"])
def test_a_pattern_that_takes_linear_time_is_not(pattern: str) -> None:
    counted = CountedPattern(re.compile(pattern))

    assert not too_slow(searching(counted), unlike(counted))


def test_a_loop_within_a_loop_is_found_and_one_after_the_other_is_not() -> None:
    def nested(text: str) -> None:
        for _ in text:
            for _ in text:
                pass

    def in_turn(text: str) -> None:
        for _ in range(10):
            for _ in text:
                pass

    assert too_slow(running(nested))
    assert not too_slow(running(in_turn))


@pytest.mark.parametrize("name", PATTERNS)
def test_steps_are_counted_where_re_finds_the_same(name: str) -> None:
    counted = CountedPattern(PATTERNS[name])
    for unit in unlike(counted):
        for tail in TAILS:
            text = repeated(unit[:64], tail, 64)
            spans = counted.search(text, 1_000_000).spans
            assert [match.span() for match in PATTERNS[name].finditer(text)] == spans, text


@pytest.mark.parametrize("name", PATTERNS)
def test_no_text_is_searched_in_more_than_linear_time(name: str) -> None:
    counted = CountedPattern(PATTERNS[name])

    assert not too_slow(searching(counted, whole=name.rpartition(".")[2] in WHOLE), unlike(counted))


@pytest.mark.parametrize("name", PARSERS)
def test_no_text_is_parsed_in_more_than_linear_time(name: str, tmp_path: Path) -> None:
    assert not too_slow(running(parsers(tmp_path)[name]))
