"""The meaning of a text as the mean of its tokens' vectors, from the weights in the wordllama wheel.

The weights are mapped, never widened as a whole, and the wordllama package is not imported: it would bring modules
that only training needs. Words are tokenized one by one, as the tokenizer's merges stay within them, and the sums of
their vectors are remembered.
"""

import json
import re
import struct
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services.classifier.reading import shorten

DIMENSIONS = 256
# Bytes of UTF-8 that are embedded of the beginning and of the end of a text, and of several short texts together: a
# word never met before costs by the byte, in any script.
HALF_EMBEDDED = 400
SHORT_TEXTS = 400
# Words whose vectors are remembered: 1 KiB each, and the memory is mapped at the start.
WORDS_REMEMBERED = 16_384
# Stands for a text without words; its vector is zero.
NO_WORD = ""
# A longer word (a base64 blob, an address) says nothing beyond its beginning.
LONGEST_WORD = 40
_WORD = re.compile(r"\w+|[^\w\s]")


class Embedder:
    """Token vectors of wordllama's `l2_supercat_256`, 32,000 x 256 in half precision."""

    def __init__(self) -> None:
        """Map the weights.

        Raises:
            FileNotFoundError: wordllama is not installed.
            ValueError: its weights are not the ones this was written for.
        """
        folder = _package()
        self._table = _mapped(folder / "weights" / "l2_supercat_256.safetensors")
        self._tokenizer = Tokenizer.from_file(
            str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
        )
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._rows: dict[str, int] = {NO_WORD: 0}
        self._sums = np.zeros((WORDS_REMEMBERED, DIMENSIONS), np.float32)
        self._counts = np.zeros(WORDS_REMEMBERED, np.float32)

    def embed(self, words: Sequence[str]) -> NDArray[np.float32]:
        """The mean of the vectors of a text's first and last words, in lower case; zeros for none."""
        text = " ".join(words)
        if len(text) > 2 * HALF_EMBEDDED or not text.isascii():
            encoded = text.encode("utf-8", "replace")
            if len(encoded) > 2 * HALF_EMBEDDED:
                ends = encoded[:HALF_EMBEDDED], encoded[-HALF_EMBEDDED:]
                words = " ".join(end.decode("utf-8", "ignore") for end in ends).split()
        if not words:
            return np.zeros(DIMENSIONS, np.float32)
        rows = self._known(words)
        mean: NDArray[np.float32] = self._sums[rows].sum(axis=0)
        mean /= max(1.0, float(self._counts[rows].sum()))
        return mean

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """The mean of the vectors of a text's words and signs, in whatever letter case."""
        return self.embed(_WORD.findall(shorten(text, HALF_EMBEDDED).lower()))

    def embed_all(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """The means of the beginnings of several short texts, each given as its words, one row a text."""
        share = SHORT_TEXTS // max(1, len(texts))
        lists = [_beginning(words, share) or (NO_WORD,) for words in texts]
        rows = self._known([word for words in lists for word in words])
        starts = list(accumulate(map(len, lists[:-1]), initial=0))
        counts: NDArray[np.float32] = np.maximum(np.add.reduceat(self._counts[rows], starts), np.float32(1.0))
        means: NDArray[np.float32] = np.add.reduceat(self._sums[rows], starts, axis=0)
        means /= counts[:, None]
        return means

    def _known(self, words: Sequence[str]) -> list[int]:
        known = self._rows
        try:
            return [known[word] for word in words]
        except KeyError:
            self._learn(words)
            return [self._rows[word] for word in words]

    def _learn(self, words: Sequence[str]) -> None:
        new = [word for word in dict.fromkeys(words) if word not in self._rows]
        if len(self._rows) + len(new) > WORDS_REMEMBERED:
            self._rows = {NO_WORD: 0}
            new = [word for word in dict.fromkeys(words) if word]
        first = len(self._rows)
        last = first + len(new)
        # Lone surrogates, from broken JSON, are no text to the tokenizer.
        clean = [word[:LONGEST_WORD].encode("utf-8", "replace").decode() for word in new]
        found = self._tokenizer.encode(clean, is_pretokenized=True, add_special_tokens=False)
        owners = found.word_ids
        starts = [place for place, owner in enumerate(owners) if place == 0 or owner != owners[place - 1]]
        vectors = self._table[found.ids].astype(np.float32)
        self._sums[first:last] = np.add.reduceat(vectors, starts)
        self._counts[first:last] = [end - start for start, end in pairwise([*starts, len(owners)])]
        self._rows.update(zip(new, range(first, last), strict=True))


def _beginning(words: Sequence[str], size: int) -> Sequence[str]:
    """The first words that fit into so many bytes."""
    text = " ".join(words)
    if len(text) <= size and text.isascii():
        return words
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore").split()


def _package() -> Path:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the weights of wordllama are missing: pip install 'lumni[classifier]'")
    return Path(spec.submodule_search_locations[0])


def _mapped(path: Path) -> NDArray[np.float16]:
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))["embedding.weight"]
    if header["dtype"] != "F16" or header["shape"][1] != DIMENSIONS:
        raise ValueError(f"{path.name}: expected half precision vectors of {DIMENSIONS} dimensions")
    offset = 8 + size + int(header["data_offsets"][0])
    # A plain view of the map: slices of np.memmap itself cost a microsecond more.
    return np.asarray(np.memmap(path, np.float16, "r", offset=offset, shape=tuple(header["shape"])))
