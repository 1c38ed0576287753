"""Words that show what a request asks for, by the feature they count towards.

`lexicon.tsv` lists them, a feature and its words to a line. A word counts towards one feature. One that ends in `*`
stands for all words that begin so, in texts that are not English; those of scripts without spaces are looked for
anywhere.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

# Kana, Chinese characters, Thai: written without spaces.
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


def _entries() -> Iterator[tuple[str, str]]:
    """Words and their features.

    Raises:
        ValueError: a word stands twice.
    """
    seen: set[str] = set()
    for line in Path(__file__).with_suffix(".tsv").read_text("utf-8").splitlines():
        feature, _, words = line.partition("\t")
        for word in words.split():
            if word in seen:
                raise ValueError(f"lexicon.tsv: {word!r} stands twice")
            seen.add(word)
            yield word, feature


_ALL = dict(_entries())
FEATURES = frozenset(_ALL.values())
_WORDS = MappingProxyType({word: feature for word, feature in _ALL.items() if not word.endswith("*")})
_PREFIXES = MappingProxyType({word[:-1]: feature for word, feature in _ALL.items() if word.endswith("*")})
# Characters by which prefixes are found.
_START = min(map(len, _PREFIXES))


def _lengths(words: Iterable[str], size: int) -> MappingProxyType[str, list[int]]:
    """The first characters of words -> the words' lengths, longest first: it is the most specific."""
    found: dict[str, set[int]] = {}
    for word in words:
        found.setdefault(word[:size], set()).add(len(word))
    return MappingProxyType({first: sorted(lengths, reverse=True) for first, lengths in found.items()})


_PREFIX_LENGTHS = _lengths(_PREFIXES, _START)
# Of words without spaces.
_CUE_LENGTHS = _lengths(filter(UNSPACED.match, _WORDS), 1)


def kinds_of(words: Sequence[str], text: str, *, english: bool, unspaced: bool) -> list[tuple[str, str]]:
    """The words of a text in lower case that count towards a feature, each with it, as often as they occur.

    Args:
        words: Of the text, in lower case.
        text: The text itself, in lower case.
        english: Whether prefixes need not be looked at.
        unspaced: Whether the text holds words of scripts without spaces.
    """
    if english:
        found = [(word, _WORDS[word]) for word in words if word in _WORDS]
    else:
        found = [(word, kind) for word in words if (kind := _WORDS.get(word) or _by_prefix(word))]
    if unspaced:
        found.extend(_cues(text))
    return found


def _by_prefix(word: str) -> str:
    for size in _PREFIX_LENGTHS.get(word[:_START], ()):
        if kind := _PREFIXES.get(word[:size]):
            return kind
    return ""


def _cues(text: str) -> Iterator[tuple[str, str]]:
    """The words found, each with its feature, in a text without spaces, from left to right, the longest first."""
    # A pattern of a thousand alternatives would try them all at every character.
    end = 0
    for start, first in enumerate(text):
        if start >= end and first in _CUE_LENGTHS:
            for size in _CUE_LENGTHS[first]:
                if feature := _WORDS.get(text[start : start + size]):
                    end = start + size
                    yield text[start:end], feature
                    break
