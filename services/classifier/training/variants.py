"""The same request as others would put it: with typos, thanks, a preamble, or its sentences in another order.

What is asked stays, so the tier should. Training sees two variants of each request; the evaluation counts how many
change the tier, with preambles and thanks that training has not seen.
"""

import random
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

# Share of the words that get a typo; at least one word does.
TYPOS = 0.05
# Polite sentences of a preamble that is trained on, from and to.
SENTENCES = (2, 5)
# Share of the preambles that are trained on as they were written.
WHOLE = 0.7
# A word is long enough to be mistyped.
LEAST_LETTERS = 4

_WORD = re.compile(rf"[^\W\d_]{{{LEAST_LETTERS},}}")
_SENTENCE = re.compile(r"(?<=[.!?…。？！؟।])\s+")
_POLITE: Mapping[str, Mapping[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("polite.toml").read_text("utf-8")
)


def typos(text: str, language: str, draw: random.Random) -> str:
    """Letters dropped, doubled or swapped in some of the words."""
    del language
    words = list(_WORD.finditer(text))
    chosen = draw.sample(words, min(len(words), max(1, round(TYPOS * len(words)))))
    for found in sorted(chosen, key=lambda match: -match.start()):
        text = text[: found.start()] + _mistyped(found.group(), draw) + text[found.end() :]
    return text


def _mistyped(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word) - 1)
    return draw.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )


def lower_case(text: str, language: str, draw: random.Random) -> str:
    """Without capitals."""
    del language, draw
    return text.lower()


def reordered(text: str, language: str, draw: random.Random) -> str:
    """The sentences of each line in another order; program text and lists keep their lines."""
    del language

    def shuffled(line: str) -> str:
        sentences = _SENTENCE.split(line)
        draw.shuffle(sentences)
        return " ".join(sentences)

    return "\n".join(map(shuffled, text.split("\n")))


def trained() -> list[str]:
    """All preambles, sentences of preambles, and thanks that are trained on."""
    kinds = [
        _POLITE[kind]
        for kind in ("training_sentences", "training_preambles", "further_preambles", "training_thanks")
    ]
    return [text for kind in kinds for texts in kind.values() for text in texts]


def trained_preamble(text: str, language: str, draw: random.Random) -> str:
    """With a polite preamble before it, or with two to five polite sentences in some order."""
    if draw.random() < WHOLE:
        known = _POLITE["training_preambles"][language] + _POLITE["further_preambles"][language]
        return f"{draw.choice(known)} {text}"
    known = _POLITE["training_sentences"][language]
    return f"{' '.join(draw.sample(known, draw.randint(*SENTENCES)))} {text}"


def preambles(language: str) -> list[str]:
    """The polite preambles of about 200 characters that are only evaluated with."""
    return _POLITE["evaluation_preambles"][language]


def preamble(text: str, language: str, draw: random.Random) -> str:
    """With a polite preamble of about 200 characters that training has not seen."""
    return f"{draw.choice(preambles(language))} {text}"


def unseen_preamble(text: str, language: str, draw: random.Random) -> str:
    """With whatever a writer of preambles puts first, none of whose are trained on."""
    return f"{draw.choice(_POLITE['unseen_preambles'][language])} {text}"


def thanks(use: str) -> Callable[[str, str, random.Random], str]:
    """A variant that ends in thanks; `use` is training or evaluation."""

    def put(text: str, language: str, draw: random.Random) -> str:
        return f"{text} {draw.choice(_POLITE[f'{use}_thanks'][language])}"

    return put


def polite(text: str, language: str, draw: random.Random) -> str:
    """A preamble, thanks or both, of those that are trained on."""
    before, after = draw.choice(((True, False), (False, True), (True, True)))
    text = trained_preamble(text, language, draw) if before else text
    return thanks("training")(text, language, draw) if after else text


def rough(text: str, language: str, draw: random.Random) -> str:
    """With typos, or its sentences in another order."""
    return draw.choice((typos, reordered))(text, language, draw)


Variant = Callable[[str, str, random.Random], str]
TRAINED: tuple[Variant, ...] = (polite, rough)
MEASURED: Mapping[str, Variant] = {
    "typos in 5 % of the words": typos,
    "lower case": lower_case,
    "a polite preamble of 200 characters": preamble,
    "a preamble by a writer unknown to training": unseen_preamble,
    "thanks at the end": thanks("evaluation"),
    "sentences in another order": reordered,
}
