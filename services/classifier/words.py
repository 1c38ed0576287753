"""What a text's words say: sums of trained vectors of the character n-grams within each word.

A request is read three times: as a whole, its first words and its last ones, where the demand mostly stands. Each
distinct word counts once. A word is the sum of its n-grams, so words never met before, inflected ones and misspelt ones
still say something, in any language; and what a word adds to every head is computed once and remembered. Scripts
without spaces are read in runs of one to three characters.

The sums are divided by the length of the text's own vector of n-grams (the square root of the sum of their squared
weights), so that length says nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from services.classifier.lexicon import UNSPACED

Floats = NDArray[np.float32]

# Lengths of the n-grams within a word, which is framed by spaces; and of the runs of scripts without spaces.
SHORTEST, LONGEST = 2, 5
RUNS = (1, 2, 3)
# A longer word (a base64 blob, an address) says nothing beyond its beginning.
LONGEST_WORD = 40
# Words at each end of a text that are read by themselves; in scripts without spaces, runs.
END_WORDS = 14
END_RUNS = 3 * END_WORDS
# Parts of a text, each with weights of its own.
PARTS = ("whole", "first", "last")
# What the ends of a text weigh beside the whole.
END_WEIGHT = 0.4
# Words whose sums are remembered: 0.3 KiB each, and the memory is taken at the start.
REMEMBERED = 32_768

_UNSPACED = UNSPACED.pattern[1:-1]
_ASCII_TOKEN = re.compile(r"\w+|[^\w\s]")
_TOKEN = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text, lowered: all of them, each once, and those at its ends."""

    whole: tuple[str, ...]
    first: tuple[str, ...]
    last: tuple[str, ...]


def split(lowered: str) -> Words:
    """The words, numerals and signs of a text in lower case."""
    found = _tokens(lowered)
    size = END_RUNS if found and UNSPACED.match(found[0]) else END_WORDS
    return Words(_once(found), _once(found[:size]), _once(found[-size:]))


def distinct(lowered: str) -> tuple[str, ...]:
    """The words of a text in lower case, each once."""
    return _once(_tokens(lowered))


def _tokens(lowered: str) -> list[str]:
    if lowered.isascii():
        return _ASCII_TOKEN.findall(lowered)
    found = _TOKEN.findall(lowered)
    return list(_runs(found)) if UNSPACED.search(lowered) else found


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _runs(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        if UNSPACED.match(word):
            yield from (word[at : at + n] for at in range(len(word)) for n in RUNS if at + n <= len(word))
        else:
            yield word


def grams(word: str) -> list[int]:
    """The 32-bit digests of a word's n-grams, the word itself first."""
    # Lone surrogates, from broken JSON, are no text to the codec.
    if UNSPACED.match(word):
        return [crc32(word.encode("utf-8", "replace"))]
    framed = f" {word[:LONGEST_WORD]} "
    parts = [framed] + [
        framed[at : at + n] for n in range(SHORTEST, LONGEST + 1) for at in range(len(framed) - n + 1)
    ]
    return [crc32(part.encode("utf-8", "replace")) for part in parts]


@dataclass(frozen=True, slots=True)
class Table:
    """Trained vectors of n-grams for one part of a text.

    Attributes:
        digests: Of the n-grams, ascending.
        rarity: What an n-gram weighs in a text's length: the logarithm of how few training texts hold it.
        weights: n-grams x heads; what a text of this n-gram alone adds to each head, in units of its scale.
        scales: Of the heads.

    Rarity and weights stay in the few bits that they are kept in, as most of them are never asked for.
    """

    digests: NDArray[np.uint32]
    rarity: NDArray[np.float16] | Floats
    weights: NDArray[np.int8] | NDArray[np.float16] | Floats
    scales: Floats

    def __post_init__(self) -> None:
        if not (
            self.digests.ndim == 1
            and self.rarity.shape == self.digests.shape
            and self.weights.shape == (*self.digests.shape, *self.scales.shape)
            and (np.diff(self.digests.astype(np.int64)) > 0).all()
        ):
            raise ValueError("a table of n-grams whose arrays do not fit together")

    def sums(self, digests: NDArray[np.uint32], starts: Sequence[int]) -> Floats:
        """Per word, given the digests of all words and where each begins: heads' sums, then the squared length."""
        if not len(self.digests):
            return np.zeros((len(starts), self.weights.shape[1] + 1), np.float32)
        places = np.searchsorted(self.digests, digests)
        places[places == len(self.digests)] = 0
        known = self.digests[places] == digests
        rarity = np.where(known, self.rarity[places].astype(np.float32), np.float32(0.0))
        vectors = np.empty((len(digests), self.weights.shape[1] + 1), np.float32)
        np.multiply(self.weights[places] * self.scales, rarity[:, None], out=vectors[:, :-1])
        np.square(rarity, out=vectors[:, -1])
        return np.add.reduceat(vectors, starts)

    def of(self, words: Sequence[str]) -> Floats:
        """What each of some words adds: heads' sums, then the squared length."""
        return self.sums(*_digests(words))


def _digests(words: Sequence[str]) -> tuple[NDArray[np.uint32], list[int]]:
    """The digests of words' n-grams, and where each word's begin."""
    found = [grams(word) for word in words]
    starts = list(accumulate(map(len, found[:-1]), initial=0))
    return np.array([digest for word in found for digest in word], np.uint32), starts


class Vectors:
    """What words add to every head, looked up once and remembered."""

    def __init__(self, tables: Sequence[Table]) -> None:
        """Take one table for each of PARTS."""
        self._tables = tables
        widths = [table.weights.shape[1] + 1 for table in tables]
        ends = list(accumulate(widths))
        self._slices = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
        self._sums = np.zeros((REMEMBERED, ends[-1]), np.float32)
        self._rows: dict[str, int] = {}

    def parts(self, words: Words) -> list[Floats]:
        """For each part of a text, its distinct words' sums, one row a word."""
        # A text has far fewer words than are remembered, so all of them are known at once.
        self._learn(words.whole)
        rows, sums = self._rows, self._sums
        return [
            sums[[rows[word] for word in part], columns]
            for part, columns in zip((words.whole, words.first, words.last), self._slices, strict=True)
        ]

    def _learn(self, words: Sequence[str]) -> None:
        rows = self._rows
        new = [word for word in words if word not in rows]
        if not new:
            return
        if len(rows) + len(new) > REMEMBERED:
            rows.clear()
            new = list(words)
        found = _digests(new)
        first, last = len(rows), len(rows) + len(new)
        for table, columns in zip(self._tables, self._slices, strict=True):
            self._sums[first:last, columns] = table.sums(*found)
        rows.update(zip(new, range(first, last), strict=True))


def mean(sums: Floats) -> Floats:
    """What words add to the heads together: their sums over the length of the text's vector; zeros for none."""
    total = sums.sum(axis=0)
    values: Floats = total[:-1] / np.sqrt(max(float(total[-1]), 1.0))
    return values
