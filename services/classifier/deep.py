"""How much a request demands, as a fine-tuned sentence encoder reads it: for the version that may take longer.

The encoder is all-MiniLM-L6-v2, trained further on the corpus of requests, with weights of eight bits. It knows
English and, as far as the corpus taught it, other languages in Latin letters. Other scripts it spells letter by letter,
and it is not asked about them.

A text is read alone, never in a batch with others: the scale of its eight-bit activations would depend on them, and the
same request would be judged differently in other company. ONNX Runtime is imported by this module alone (extra
`classifier-deep`).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from services.classifier.heads import CATEGORIES, COMMITTED
from services.classifier.reading import shorten
from services.classifier.stack import Opinion

# Tokens read of the beginning and of the end of a text. The time grows with them.
FIRST_TOKENS, LAST_TOKENS = 80, 48
# Characters looked at of each end; a token is seldom longer than eight.
HALF_TOKENIZED = 8 * FIRST_TOKENS
# From this share of letters beyond the Latin ones on, a text is not the encoder's.
MOST_BEYOND_LATIN = 0.3
# The last letter of Latin Extended-B.
LAST_LATIN = "\u024f"
# Log-odds that the encoder gives: level 2, 3 and 4 or above.
THRESHOLDS = 3


class Encoder:
    """The fine-tuned encoder: one thread, 25 MiB of weights."""

    def __init__(self, folder: Path = COMMITTED) -> None:
        """Load `encoder.onnx` and `encoder.tokenizer.json` from a folder.

        Raises:
            ValueError: a file is missing or holds something else.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "encoder.tokenizer.json"))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                str(folder / "encoder.onnx"), options, providers=["CPUExecutionProvider"]
            )
        # Either library raises bare exceptions of its own.
        except Exception as error:
            raise ValueError(
                f"{folder} holds no encoder that can be read ({type(error).__name__}): put good copies of encoder.onnx "
                "and encoder.tokenizer.json there, or train it again"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        expected = {"levels": THRESHOLDS, "categories": len(CATEGORIES)}
        found = {output.name: output.shape[-1] for output in self._session.get_outputs()}
        if found != expected:
            raise ValueError(f"{folder / 'encoder.onnx'}: expected outputs {expected}, found {found}")

    def read(self, text: str) -> Opinion | None:
        """The encoder's opinion of a text; None where the text is not in Latin letters."""
        text = shorten(text, HALF_TOKENIZED)
        if not legible(text):
            return None
        ids = np.array([self._tokens(text)], np.int64)
        levels, categories = self._session.run(["levels", "categories"], {"ids": ids})
        return Opinion(levels[0], categories[0])

    def _tokens(self, text: str) -> Sequence[int]:
        # Lone surrogates, from broken JSON, are no text to the tokenizer.
        ids: list[int] = self._tokenizer.encode(text.encode("utf-8", "replace").decode()).ids
        if len(ids) <= FIRST_TOKENS + LAST_TOKENS:
            return ids
        return ids[:FIRST_TOKENS] + ids[-LAST_TOKENS:]


def legible(text: str) -> bool:
    """Whether nearly all letters of a text are Latin ones."""
    if text.isascii():
        return True
    letters = [char for char in text if char.isalpha()]
    beyond = sum(char > LAST_LATIN for char in letters)
    return beyond <= MOST_BEYOND_LATIN * len(letters)
