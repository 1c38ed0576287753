"""The n-grams of training texts as a sparse matrix, with which linear heads are fitted as `words` will apply them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from services.classifier.words import Floats, grams

# An n-gram that fewer training texts hold says nothing of others.
LEAST_TEXTS = 2

_grams = lru_cache(maxsize=200_000)(grams)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The n-grams that have weights, by ascending digest, and their rarity."""

    digests: NDArray[np.uint32]
    rarity: Floats

    def matrix(self, texts: Sequence[Sequence[str]]) -> csr_array:
        """Texts x n-grams: how often, by rarity, over the length of the text's vector; each text as distinct words."""
        places = {digest: place for place, digest in enumerate(self.digests.tolist())}
        indices: list[int] = []
        counts: list[int] = []
        ends = [0]
        for text in texts:
            found = Counter(places[gram] for word in text for gram in _grams(word) if gram in places)
            indices += found.keys()
            counts += found.values()
            ends.append(len(indices))
        number = np.array(counts, np.float32)
        rarity = self.rarity[indices]
        rows = np.repeat(np.arange(len(texts)), np.diff(ends))
        squared = np.bincount(rows, number * rarity**2, len(texts))
        values = number * rarity / np.sqrt(np.maximum(squared, 1.0))[rows]
        return csr_array(
            # Liblinear takes indices of 32 bits only.
            (values.astype(np.float32), np.array(indices, np.int32), np.array(ends, np.int32)),
            shape=(len(texts), len(self.digests)),
        )


def vocabulary(texts: Iterable[Sequence[str]]) -> Vocabulary:
    """The n-grams of at least LEAST_TEXTS texts; rarity is the logarithm of how few hold one, and 1."""
    size = 0
    holding: Counter[int] = Counter()
    for text in texts:
        size += 1
        holding.update({gram for word in text for gram in _grams(word)})
    kept = sorted(gram for gram, count in holding.items() if count >= LEAST_TEXTS)
    counts = np.array([holding[gram] for gram in kept])
    rarity = np.log((1 + size) / (1 + counts)) + 1
    return Vocabulary(np.array(kept, np.uint32), rarity.astype(np.float32))
