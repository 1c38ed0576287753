"""No text takes longer to read than in proportion to its length: every pattern and every parser, on hostile texts."""

import re
from pathlib import Path

import pytest

from tests.fuzz.linear import parsers, patterns, searching, too_slow, whole_text

PATTERNS = patterns()
WHOLE = whole_text()
PARSERS = parsers(Path())


def test_every_pattern_of_the_services_is_found() -> None:
    written = {
        "features._CODE",
        "provider_errors._SECRETS",
        "rate_headers._SPAN",
        "model_names._REVISION",
        "languages._SCRIPTS[0][1]",
    }

    assert written <= {".".join(name.split(".")[-2:]) for name in PATTERNS}


def test_what_is_quadratic_is_found() -> None:
    assert too_slow(searching(re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")))


@pytest.mark.parametrize("name", PATTERNS)
def test_no_text_is_searched_in_more_than_linear_time(name: str) -> None:
    assert not too_slow(searching(PATTERNS[name], whole=name.rpartition(".")[2] in WHOLE))


@pytest.mark.parametrize("name", PARSERS)
def test_no_text_is_parsed_in_more_than_linear_time(name: str, tmp_path: Path) -> None:
    assert not too_slow(parsers(tmp_path)[name])
