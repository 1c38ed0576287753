"""Sentences that ask for nothing: greetings, thanks, apologies, praise, "you are a world-class expert".

They are left out before a request is judged, at its beginning and at its end, so that a preamble of a prompt template
or a polite letter around a sum changes nothing. Which sentences those are is learnt from n-grams, in the languages of
`training/polite.toml`. A text of nothing else is left as it is, and so is a mere "good morning".
"""

import re
from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np

from services.classifier.words import REMEMBERED, Table, distinct

COMMITTED = Path(__file__).parent / "weights" / "courtesy.npz"
# Sentences that are looked at, at the beginning and at the end.
MOST_FIRST, MOST_LAST = 6, 3
# A longer sentence says more than courtesies.
LONGEST = 300
# Log-odds of a sentence that is surely no courtesy, whatever stands around it.
SURELY_NOT = -2.5
# Characters of courtesies at the beginning that are left out, and that are left of a request: talk is full of them.
LEAST_PREAMBLE, LEAST_REST = 40, 12

# After a sentence: its mark and a space, a mark of a script without spaces, or the end of a line.
_END = re.compile(r"[.!?…:؟।]\s+|[。？！：]\s*|\n+")


class Courtesies:
    """What is known of the n-grams of courtesies."""

    def __init__(self, table: Table, bias: float) -> None:
        """Take a table with one head, the log-odds that a sentence is a courtesy, and its bias."""
        self._table = table
        self._bias = bias
        # What each word adds, and its squared length: a sentence has too few words for arrays to pay.
        self._known: dict[str, tuple[float, float]] = {}

    @classmethod
    def load(cls, path: Path = COMMITTED) -> "Courtesies":
        """Read the committed weights."""
        with np.load(path, allow_pickle=False) as file:
            table = Table(
                file["digests"],
                file["rarity"],
                file["weights"][:, None],
                np.ones(1, np.float32),
            )
            return cls(table, float(file["bias"]))

    def score(self, sentence: str) -> float:
        """The log-odds that a sentence is a courtesy."""
        found = distinct(sentence.lower())
        known = self._known
        if new := [word for word in found if word not in known]:
            if len(known) + len(new) > REMEMBERED:
                known.clear()
                new = list(found)
            known.update(zip(new, map(tuple, self._table.of(new).tolist()), strict=True))
        added = squared = 0.0
        for word in found:
            more, length = known[word]
            added += more
            squared += length
        return added / sqrt(max(squared, 1.0)) + self._bias

    def without(self, text: str) -> str:
        """A text without the courtesies at its beginning and its end."""
        found = sentences(text)
        first = self._courteous(found[:MOST_FIRST])
        if sum(map(len, found[:first])) < LEAST_PREAMBLE:
            first = 0
        last = len(found) - self._courteous(found[first:][: -MOST_LAST - 1 : -1])
        rest = "".join(found[first:last])
        return rest if len(rest) >= LEAST_REST else text

    def _courteous(self, found: list[str]) -> int:
        """How many sentences, from the first on, are courtesies together, and none of them surely something else."""
        total, most = 0.0, 0
        for number, sentence in enumerate(found, 1):
            score = self.score(sentence) if len(sentence) <= LONGEST else SURELY_NOT
            if score <= SURELY_NOT:
                break
            total += min(score, -SURELY_NOT)
            if total > 0:
                most = number
        return most


def sentences(text: str) -> list[str]:
    """The sentences of a text with what ends them; together they are the text."""
    bounds = [0, *(found.end() for found in _END.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds) if start < end]
