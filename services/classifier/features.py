"""What can be seen in a question without understanding it: lengths, numbers, kinds of words, the form asked for.

Counts are taken as log(1 + n), because the second numeral of a question says more than the twentieth. Every feature
has a name that a person would understand, because the largest ones are given as reasons.
"""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from math import log1p
from operator import ne

import numpy as np
from numpy.typing import NDArray

from services.classifier.embedding import DIMENSIONS, Embedder
from services.classifier.lexicon import FEATURE_OF, LANGUAGES_OF, WORDS
from services.classifier.reading import Reading

# Features in their order, and what each is called as a reason when there is much of it, and when there is little.
NAMED: dict[str, tuple[str, str]] = {
    "chars": ("a long question", "a short question"),
    "sentences": ("many sentences", "few sentences"),
    "sentence_words": ("long sentences", "short sentences"),
    "word_chars": ("long words", "short words"),
    "variety": ("terms that do not return", "terms that return"),
    "lines": ("many lines", "few lines"),
    "numerals": ("numbers to work with", "few or no numbers"),
    "numeral_share": ("dense with numbers", "not dense with numbers"),
    "big_numbers": ("large or decimal numbers", "no large numbers"),
    "years": ("years and dates", "no dates"),
    "money": ("amounts of money", "no amounts of money"),
    "percents": ("percentages", "no percentages"),
    "operators": ("arithmetic signs", "no arithmetic signs"),
    "symbols": ("mathematical notation", "no mathematical notation"),
    "code_marks": ("program text", "no program text"),
    "program": ("a program to read", "no program to read"),
    "amount": ("an amount to find", "no amount to find"),
    "story_sum": ("an amount to find from several numbers", "no amount to find from numbers"),
    "question_marks": ("several questions", "hardly a question mark"),
    "options": ("multiple choice", "no choices given"),
    "option_words": ("long answers to choose from", "no long answers to choose from"),
    "option_likeness": ("answers that resemble each other", "no answers that resemble each other"),
    "option_numerals": ("numeric answers to choose from", "no numeric answers to choose from"),
    "statements": ("statements to judge", "no statements to judge"),
    "romans": ("combinations of statements", "no combinations of statements"),
    "enumerated": ("enumerated demands", "nothing enumerated"),
    "blank": ("a blank to fill in", "no blank to fill in"),
    "quotes": ("quoted text", "nothing quoted"),
    "names": ("many names", "few names"),
    "length_asked": ("an answer of a given length", "no length asked for"),
    "one_step": ("a single short demand", "more than a short demand"),
    "beyond_latin": ("another script", "Latin script"),
    "superlative": ("the best of several good answers", "no best answer asked for"),
    "greetings": ("greetings or thanks", "no greeting"),
    "translating": ("words about translation", "nothing to translate"),
    "languages": ("names of languages", "no names of languages"),
    "summarizing": ("words about summaries", "nothing to summarize"),
    "extracting": ("words about extracting and sorting data", "no data to extract"),
    "writing": ("words about writing", "no text to write"),
    "playing": ("a role to play", "no role to play"),
    "planning": ("words about plans", "nothing to plan"),
    "facts": ("words that ask for a fact", "no plain question of fact"),
    "why": ("words that ask for an explanation", "no explanation asked for"),
    "math": ("words of mathematics", "no words of mathematics"),
    "quantities": ("quantities and rates", "no quantities or rates"),
    "number_words": ("numbers in words", "no numbers in words"),
    "science": ("words of science", "no words of science"),
    "code": ("words of programming", "no words of programming"),
    "logic": ("words of logic", "no words of logic"),
    "puzzles": ("words of puzzles", "no words of puzzles"),
    "negation": ("negations", "no negations"),
    "constraints": ("constraints on the answer", "no constraints on the answer"),
    "persons": ("people in a story", "no people in a story"),
    "law": ("words of law", "no words of law"),
    "ideas": ("words of society and ideas", "no words of society and ideas"),
    "turns": ("a conversation of several turns", "a single turn"),
    "history": ("a long conversation so far", "no conversation before"),
    "system": ("long instructions", "no instructions"),
    "tools": ("functions to call", "no functions to call"),
    "structured": ("a structured answer", "a free answer"),
    "attachments": ("images, sound or files", "nothing attached"),
}
NAMES: tuple[str, ...] = tuple(NAMED)
INPUTS = len(NAMES) + DIMENSIONS
INDEX = {name: number for number, name in enumerate(NAMES)}
# Features that are log(1 + n) of something that can be counted.
COUNTED = frozenset(WORDS) | {
    "chars", "sentences", "sentence_words", "lines", "numerals", "big_numbers", "years", "money", "percents",
    "operators", "symbols", "code_marks", "question_marks", "option_words", "romans", "enumerated", "quotes", "names",
    "turns", "history", "system", "tools", "attachments",
}  # fmt: skip

_TOKEN = re.compile(r"[^\W\d_]+(?:['’.+#-][^\W\d_]+|\+\+|#)*|\d+(?:[.,]\d+)*")
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
_SENTENCE = re.compile(r"[.!?。？！؟](?:\s|$)")
_SCRIPTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
)
_AMOUNTS = frozenset(
    "how what calculate find combien cuántos cuánto cuántas wie quanti quanto сколько".split()
)
_AMOUNT = re.compile(
    r"how (?:many|much|far|long|old|fast|often)\b|what (?:is|was|are|will be) the (?:total|average|probability|value"
    r"|sum|number|area|volume|difference|ratio|percent|cost|price|length|distance)|wie ?viele?\b|combien"
    r"|cuánt[oa]s?\b|quant[oiae]\b|сколько"
)
USUAL_WORD_CHARS = 4.5
MOST_OPTIONS = 10
# From so many marks of code on, a text holds a program.
PROGRAM_MARKS = 4
# A script says its language when it makes up this share of the characters beyond ASCII.
SCRIPT_SHARE = 0.3
# Words looked at for the language.
LANGUAGE_WORDS = 60


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen in a Reading.

    Attributes:
        inputs: What the heads see: the features in the order of NAMES, then the embedding.
        language: BCP 47; empty when nothing tells.
    """

    inputs: NDArray[np.float32]
    language: str


def observe(reading: Reading, embedder: Embedder) -> Observation:
    """Count what can be counted in a question, and embed it."""
    text = reading.question
    tokens = _TOKEN.findall(text)
    words = [token for token in tokens if not token[0].isdigit()]
    numerals = [token for token in tokens if token[0].isdigit()]
    lower = text.lower()
    lowered = [word.lower() for word in words]
    options = _OPTION.findall(text)[:MOST_OPTIONS] if "\n" in text else []
    if len(options) < 2:
        options = []
    n = max(1, len(words))
    sentences = 1 + len(_SENTENCE.findall(text))
    ascii_only = text.isascii()
    code_marks = len(_CODE.findall(text)) if any(sign in text for sign in _CODE_SIGNS) else 0
    amount = not _AMOUNTS.isdisjoint(lowered) and _AMOUNT.search(lower) is not None
    found: dict[str, float] = {
        "chars": log1p(reading.question_chars),
        "sentences": log1p(sentences),
        "sentence_words": log1p(n / sentences),
        # Without words these say nothing, and are as usual.
        "word_chars": sum(map(len, words)) / n if words else USUAL_WORD_CHARS,
        "variety": len(set(lowered)) / n if words else 1.0,
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
        "one_step": float(len(words) < 12),
        "beyond_latin": 0.0 if ascii_only else _beyond_latin(text),
        "turns": log1p(max(0, reading.turns - 1)),
        "history": log1p(reading.history_chars),
        "system": log1p(reading.system_chars),
        "tools": log1p(reading.tools),
        "structured": float(reading.structured),
        "attachments": log1p(reading.attachments),
    }
    kinds = Counter(map(FEATURE_OF.get, lowered))
    for kind, count in kinds.items():
        if kind is not None:
            found[kind] = log1p(count)
    values = np.empty(INPUTS, np.float32)
    values[: len(NAMES)] = [found.get(name, 0.0) for name in NAMES]
    values[len(NAMES) :] = embedder.embed(lowered)
    return Observation(values, _language(lower, lowered, ascii_only=ascii_only))


def _likeness(options: list[tuple[str, str]], embedder: Embedder) -> float:
    """The mean cosine between the answers to choose from."""
    vectors = embedder.embed_all([_TOKEN.findall(text.lower()) for _, text in options])
    products = vectors @ vectors.T
    lengths = np.sqrt(products.diagonal()) + 1e-6
    n = len(options)
    return float(((products / lengths / lengths[:, None]).sum() - n) / (n * (n - 1)))


def _beyond_latin(text: str) -> float:
    return sum(char > "\u024f" for char in text[:400]) / max(1, min(400, len(text)))


def _language(lower: str, words: list[str], *, ascii_only: bool) -> str:
    if not ascii_only:
        beyond = sum(char > "\u024f" for char in lower[:400])
        if beyond > 2:
            for language, script in _SCRIPTS:
                if len(script.findall(lower[:400])) >= SCRIPT_SHARE * beyond or (
                    language == "uk" and script.search(lower[:400])
                ):
                    return language
    votes = Counter(
        chain.from_iterable([LANGUAGES_OF[word] for word in words[:LANGUAGE_WORDS] if word in LANGUAGES_OF])
    )
    return max(votes, key=votes.__getitem__) if votes else ""
