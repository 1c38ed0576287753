"""The prompts that nothing is ever trained on."""

import hashlib
import re

# One prompt in so many is held out.
ONE_IN = 5

_WORD = re.compile(r"[^\W_]+")


def wording(text: str) -> str:
    """A prompt's words, without its answers to choose from and whatever its case, spaces and punctuation.

    The same question turns up in several sources, printed differently: what counts is how it is worded.
    """
    return " ".join(_WORD.findall(text.partition("\nA. ")[0].lower()))


def held_out(text: str) -> bool:
    """Whether a prompt is kept out of all training, so that it may judge what was trained.

    The classifier's training skips these prompts and the selector's evaluation uses only these. One prompt in
    five is held out, by a digest of its wording: the same in every process, order and version.
    """
    digest = hashlib.sha256(wording(text).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") % ONE_IN == 0
