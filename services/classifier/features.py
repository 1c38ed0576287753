"""What can be seen in a question without understanding it: lengths, numbers, kinds of words, the form asked for.

Counts are taken as log(1 + n), because the second numeral of a question says more than the twentieth. Every feature
has a name that a person would understand, because the largest ones are given as reasons.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log1p
from operator import ne

import numpy as np
from numpy.typing import NDArray

from services.classifier import words as word_sums
from services.classifier.courtesy import Courtesies
from services.classifier.embedding import Embedder
from services.classifier.languages import language
from services.classifier.lexicon import FEATURES, UNSPACED, kinds_of
from services.classifier.reading import Reading

# Features in their order, and what each is called as a reason when there is much of it, and when there is little. That
# something is absent is seldom a reason that a person would give, and has no name then.
NAMED: dict[str, tuple[str, str]] = {
    "chars": ("a long question", "a short question"),
    "sentences": ("many sentences", ""),
    "sentence_words": ("long sentences", "short sentences"),
    "word_chars": ("", ""),
    "variety": ("", "several things to keep track of"),
    "lines": ("many lines", ""),
    "numerals": ("numbers to work with", ""),
    "numeral_share": ("dense with numbers", ""),
    "big_numbers": ("large or decimal numbers", ""),
    "years": ("years and dates", ""),
    "money": ("amounts of money", ""),
    "percents": ("percentages", ""),
    "operators": ("arithmetic signs", ""),
    "symbols": ("mathematical notation", ""),
    "code_marks": ("program text", ""),
    "program": ("a program to read", ""),
    "amount": ("an amount to find", ""),
    "story_sum": ("an amount to find from several numbers", ""),
    "question_marks": ("several questions", ""),
    "options": ("multiple choice", ""),
    "option_words": ("long answers to choose from", ""),
    "option_likeness": ("answers that resemble each other", ""),
    "option_numerals": ("numeric answers to choose from", ""),
    "statements": ("statements to judge", ""),
    "romans": ("combinations of statements", ""),
    "enumerated": ("enumerated demands", ""),
    "blank": ("a blank to fill in", ""),
    "quotes": ("quoted text", ""),
    "names": ("many names", ""),
    "length_asked": ("an answer of a given length", ""),
    "one_step": ("a single short demand", ""),
    "beyond_latin": ("another script", ""),
    "greetings": ("greetings or thanks", ""),
    "translating": ("words about translation", ""),
    "languages": ("names of languages", ""),
    "summarizing": ("words about summaries", ""),
    "extracting": ("words about extracting and sorting data", ""),
    "writing": ("words about writing", ""),
    "playing": ("a role to play", ""),
    "planning": ("words about plans", ""),
    "facts": ("words that ask for a fact", ""),
    "why": ("words that ask for an explanation", ""),
    "math": ("words of mathematics", ""),
    "quantities": ("quantities and rates", ""),
    "number_words": ("numbers in words", ""),
    "science": ("words of science", ""),
    "code": ("words of programming", ""),
    "logic": ("words of logic", ""),
    "puzzles": ("words of puzzles", ""),
    "negation": ("negations", ""),
    "constraints": ("constraints on the answer", ""),
    "persons": ("people spoken of", ""),
    "advice": ("advice or an opinion asked for", ""),
    "law": ("words of law", ""),
    "ideas": ("words of society and ideas", ""),
    "turns": ("a conversation of several turns", ""),
    "history": ("a long conversation so far", ""),
    "system": ("long instructions", ""),
    "tools": ("functions to call", ""),
    "structured": ("a structured answer", ""),
    "attachments": ("images, sound or files", ""),
}
NAMES: tuple[str, ...] = tuple(NAMED)
INDEX = {name: number for number, name in enumerate(NAMES)}
# Features that are log(1 + n) of something that can be counted.
COUNTED = FEATURES | {
    "chars", "sentences", "sentence_words", "lines", "numerals", "big_numbers", "years", "money", "percents",
    "operators", "symbols", "code_marks", "question_marks", "option_words", "romans", "enumerated", "quotes", "names",
    "turns", "history", "system", "tools", "attachments",
}  # fmt: skip

_TOKEN = re.compile(r"[^\W\d_]+(?:['’.+#-][^\W\d_]+|\+\+|#)*|\d+(?:[.,]\d+)*")
# Vowel signs and accents that follow their letter (Devanagari, Arabic, decomposed Latin) are no letters to Python.
_MARKS = "\u0300-\u036f\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0962\u0963"
_MARK = re.compile(f"[{_MARKS}]")
_MARKED_TOKEN = re.compile(rf"(?:[^\W\d_]|[{_MARKS}])+|\d+(?:[.,]\d+)*")
_OPTION = re.compile(r"^[ \t]{0,8}\(?([A-J])[.):][ \t]*(.*)$", re.MULTILINE)
_ENUMERATED = re.compile(r"^[ \t]{0,8}(?:[-*•]|\d{1,2}[.)])[ \t]+\S", re.MULTILINE)
_STATEMENT = re.compile(r"\bstatement [12i]\b", re.IGNORECASE)
_ROMAN = re.compile(r"\b(?:II|III|IV)\b")
_YEAR = re.compile(r"\b1[5-9]\d\d\b|\b20\d\d\b")
_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+[:({]|\w\(\)|[;{}][ \t]{0,8}$|=>|->|==|!=|&&|\|\||</?\w+>|\bimport \w+|\breturn\b"
    r"|#include|\bSELECT\b.{1,80}\bFROM\b|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*\b|>>>",
    re.MULTILINE,
)
_LENGTHS = frozenset(
    "word words sentence sentences paragraph paragraphs page pages line lines stanza stanzas bullet".split()
)
_LENGTH_ASKED = re.compile(
    r"\b(?:\d+|one|two|three|four|five|ten)[- ](?:words?|sentences?|paragraphs?|pages?|lines?|stanzas?|bullet)\b",
    re.IGNORECASE,
)
# Most questions hold none of these, and are spared the slow search.
_CODE_SIGNS = ("`", "_", "{", "=", "<", "()", "import ", "return", ";")
_SENTENCE = re.compile(r"[.!?؟](?:\s|$)|[。？！]")
_UNSPACED_RUN = re.compile(f"{UNSPACED.pattern}+")
_AMOUNTS = frozenset(
    "how what calculate find combien cuántos cuánto cuántas wie quanti quanto сколько".split()
)
_AMOUNT = re.compile(
    r"how (?:many|much|far|long|old|fast|often)\b|what (?:is|was|are|will be) the (?:total|average|probability|value"
    r"|sum|number|area|volume|difference|ratio|percent|cost|price|length|distance)|wie ?viele?\b|combien"
    r"|cuánt[oa]s?\b|quant[oiae]\b|сколько"
)
USUAL_WORD_CHARS = 4.5
# Without spaces a word is taken for so many characters, and each of them for as much as so many Latin ones.
UNSPACED_WORD_CHARS = 1.6
UNSPACED_WEIGHT = 3.0
MOST_OPTIONS = 10
# A demand of fewer words is a single one.
ONE_STEP_WORDS = 12
# From so many marks of code on, a text holds a program.
PROGRAM_MARKS = 4

_COURTESIES = Courtesies.load()


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen in a Reading.

    Attributes:
        features: In the order of NAMES.
        text: The question without courtesies.
        words: Of the question.
        kinds: The features that words stand for, of those that stand for one.
        plain: The question's words of letters, in lower case, as the embedder reads them.
        language: BCP 47; empty when it is not known.
    """

    features: NDArray[np.float32]
    text: str
    words: word_sums.Words
    kinds: Mapping[str, str]
    plain: Sequence[str]
    language: str


def observe(reading: Reading, embedder: Embedder, *, polite: bool = False) -> Observation:
    """Count what can be counted in a question, courtesies left out unless it is to stay `polite`.

    The embedder compares the answers of a multiple choice; other questions do not need it.
    """
    text = reading.question if polite else _COURTESIES.without(reading.question)
    chars = reading.question_chars - len(reading.question) + len(text)
    # Python lowers the Turkish capital to two characters.
    text = text.replace("İ", "i")
    ascii_only = text.isascii()
    unspaced = [] if ascii_only else UNSPACED.findall(text)
    pattern = _TOKEN if ascii_only or not _MARK.search(text) else _MARKED_TOKEN
    tokens = pattern.findall(_UNSPACED_RUN.sub(r" \g<0> ", text) if unspaced else text)
    words = [token for token in tokens if not token[0].isdigit()]
    numerals = [token for token in tokens if token[0].isdigit()]
    lower = text.lower()
    lowered = [word.lower() for word in words]
    spaced = [word for word in lowered if not UNSPACED.match(word)] if unspaced else lowered
    terms = spaced + unspaced
    options = _OPTION.findall(text)[:MOST_OPTIONS] if "\n" in text else []
    if len(options) < 2:
        options = []
    n = max(1.0, len(spaced) + len(unspaced) / UNSPACED_WORD_CHARS)
    sentences = 1 + len(_SENTENCE.findall(text))
    code_marks = len(_CODE.findall(text)) if any(sign in text for sign in _CODE_SIGNS) else 0
    amount = not _AMOUNTS.isdisjoint(lowered) and _AMOUNT.search(lower) is not None
    found: dict[str, float] = {
        "chars": log1p(chars * (1.0 + (UNSPACED_WEIGHT - 1.0) * len(unspaced) / max(1, len(text)))),
        "sentences": log1p(sentences),
        "sentence_words": log1p(n / sentences),
        # Without words these say nothing, and are as usual.
        "word_chars": sum(map(len, spaced)) / len(spaced) if spaced else USUAL_WORD_CHARS,
        "variety": len(set(terms)) / len(terms) if terms else 1.0,
        "lines": log1p(text.count("\n")),
        "numerals": log1p(len(numerals)),
        "numeral_share": len(numerals) / (n + len(numerals)),
        "big_numbers": log1p(len([token for token in numerals if len(token) > 2])),
        "years": log1p(len(_YEAR.findall(text))) if numerals else 0.0,
        "money": log1p(text.count("$") + text.count("€") + text.count("£")),
        "percents": log1p(text.count("%")),
        "operators": log1p(
            text.count("+") + text.count("=") + text.count("^") + text.count("*") + text.count("/")
        ),
        "symbols": log1p(
            text.count("\\")
            + (0 if ascii_only else sum(map(text.count, "∫∑√π≤≥×÷±∞≈→∈∀∃²³°")))
            + text.count("x^")
        ),
        "code_marks": log1p(code_marks),
        "program": float(code_marks >= PROGRAM_MARKS or "```" in text),
        "amount": float(amount),
        "story_sum": float(amount and len(numerals) > 1),
        "question_marks": log1p(text.count("?") + (0 if ascii_only else text.count("？") + text.count("؟"))),
        "options": float(len(options) > 1),
        "option_words": log1p(sum(len(option[1]) for option in options) / 6.0 / max(1, len(options))),
        "option_likeness": _likeness(options, embedder) if options else 0.0,
        "option_numerals": sum(option[1][:1].isdigit() or option[1][1:2].isdigit() for option in options)
        / max(1, len(options)),
        "statements": float("tatement" in text and bool(_STATEMENT.search(text))),
        "romans": log1p(len(_ROMAN.findall(text))) if "II" in text or "IV" in text else 0.0,
        "enumerated": log1p(len(_ENUMERATED.findall(text))) if "\n" in text else 0.0,
        "blank": float("__" in text or "...." in text),
        "quotes": log1p(text.count('"') + text.count("“") + text.count("«")),
        "names": log1p(max(0, sum(map(ne, words, lowered)) - sentences)),
        "length_asked": float(not _LENGTHS.isdisjoint(lowered) and bool(_LENGTH_ASKED.search(text))),
        "one_step": float(n < ONE_STEP_WORDS),
        "beyond_latin": 0.0 if ascii_only else _beyond_latin(text),
        "turns": log1p(max(0, reading.turns - 1)),
        "history": log1p(reading.history_chars),
        "system": log1p(reading.system_chars),
        "tools": log1p(reading.tools),
        "structured": float(reading.structured),
        "attachments": log1p(reading.attachments),
    }
    spoken = (
        _spoken(reading.question)
        if chars < reading.question_chars
        else language(lower, lowered, ascii_only=ascii_only)
    )
    kinds = kinds_of(spaced, lower, english=spoken == "en", unspaced=bool(unspaced))
    found.update((kind, log1p(number)) for kind, number in Counter(kind for _, kind in kinds).items())
    values = np.array([found.get(name, 0.0) for name in NAMES], np.float32)
    return Observation(values, text, word_sums.split(lower), dict(kinds), lowered, spoken)


def _spoken(text: str) -> str:
    """The language of a text, courtesies and all."""
    lower = text.replace("İ", "i").lower()
    return language(lower, _MARKED_TOKEN.findall(lower), ascii_only=text.isascii())


def _likeness(options: list[tuple[str, str]], embedder: Embedder) -> float:
    """The mean cosine between the answers to choose from."""
    vectors = embedder.embed_all([_TOKEN.findall(text.lower()) for _, text in options])
    products = vectors @ vectors.T
    lengths = np.sqrt(products.diagonal()) + 1e-6
    n = len(options)
    return float(((products / lengths / lengths[:, None]).sum() - n) / (n * (n - 1)))


def _beyond_latin(text: str) -> float:
    return sum(char > "\u024f" for char in text[:400]) / max(1, min(400, len(text)))
