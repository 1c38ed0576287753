"""What can be seen in a question without understanding it: lengths, numbers, kinds of words, the form asked for.

Counts are taken as log(1 + n), because the second numeral of a question says more than the twentieth. `reasons` says
which of them a person would name, and how.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
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
from services.classifier.numerals import numerals
from services.classifier.reading import Reading

# Features in their order.
NAMES: tuple[str, ...] = (
    "chars", "sentences", "sentence_words", "word_chars", "variety", "lines", "numerals", "numeral_share",
    "big_numbers", "years", "money", "percents", "operators", "symbols", "code_marks", "program", "amount", "story_sum",
    "question_marks", "options", "option_words", "option_likeness", "option_numerals", "statements", "romans",
    "enumerated", "blank", "quotes", "names", "length_asked", "one_step", "beyond_latin", "greetings", "translating",
    "languages", "summarizing", "extracting", "writing", "correcting", "playing", "planning", "facts", "why", "proof",
    "weighing", "math", "quantities", "number_words", "science", "code", "logic", "puzzles", "negation", "constraints",
    "persons", "advice", "law", "ideas", "turns", "history", "system", "tools", "structured", "attachments",
)  # fmt: skip
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
# Words that programs share with prose (import, return) count where a program has them only.
_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+[:({]|\w\(\)|[{}][ \t]{0,8}$|[=(][^\n]{0,80};[ \t]{0,8}$|\)\s?=>|\w->\w|==|!=|&&|\|\|"
    r"|</?\w+>|^[ \t]{0,8}import [\w.]+$|^from [\w.]+ import\b|^[ \t]+return\b|#include"
    r"|\bSELECT\b.{1,80}\bFROM\b|\b[A-Za-z]\w*_[A-Za-z]\w*\b|\b[a-z]{2,}[A-Z][a-z]\w*\b|^>>> ",
    re.MULTILINE,
)
# A short answer asked for: so many sentences, lines or words, five at most.
_SHORT_UNITS = frozenset(
    "word words sentence sentences line lines bullet bullets satz sätze sätzen wort zeile zeilen phrase phrases ligne "
    "lignes mot mots frase frases línea líneas palabra palabras frasi riga righe parola parole linha linhas palavra "
    "palavras zin zinnen regel regels woord woorden zdanie zdania zdaniu zdaniem zdaniach słowo słowem cümle cümleyle "
    "cümlede kelime kelimeyle satır satırda предложение предложения предложением предложении предложениях слово слова "
    "словом словах речення реченням реченні реченнях lause lauseella lausetta virke virkkeellä rivi rivillä rivin "
    "mening meningar rad rader 문장으로 문장 줄로 단어로 جملة جملتين سطر سطرين كلمة वाक्य वाक्यों शब्द शब्दों पंक्ति".split()
)
_UNIT = "|".join(sorted(_SHORT_UNITS, key=len, reverse=True))
_SHORT_ANSWER = re.compile(
    rf"""
    \b(?:
      [1-5] | one | two | three | four | five | single | zwei | drei | vier | fünf | deux | trois | quatre | cinq | dos
      | tres | cuatro | cinco | due | tre | quattro | cinque | dois | duas | três | één | twee | drie | vier | vijf
      | jedn\w{{1,3}} | dw\w{{1,4}} | trze?\w{{1,3}} | tek | bir | iki | üç | одн\w{{1,3}} | дв\w{{1,4}} | тр\w{{1,4}}
      | yh\w{{2,5}} | kah\w{{3,5}} | kolme\w{{0,4}} | två | tre | 한 | 두 | 세 | एक | दो | तीन
      | (?:in|en|em|på|med)[ ](?:an?|eine[mr]|une?|una|uma|een|ett|en)
    )[- ](?:{_UNIT})\b
    | (?:جملة|سطر|كلمة)[ ]واحدة?
    """,
    re.VERBOSE,
)
_SHORT_UNSPACED = re.compile("[一两二三兩1-3](?:个|個)?(?:句|行|言|文)(?![目字])")
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
# A sign between two operands; a slash between numbers, which may be a fraction, and no date.
_OPERATOR = re.compile(
    r"(?:\d|\b[A-Za-z]|[)\]])[ ]?(?:[=^×÷±]|[+*](?![+*]))[ ]?(?=[\d(\[√π]|-\d|[A-Za-z]\b)"
    r"|(?<![\d/])\d{1,6}/(?=\d{1,6}(?![\d/]))"
)
_NOTATION = re.compile(
    r"\\(?:frac|sqrt|sum|int|prod|lim|infty|partial|nabla|math\w+|c?dots?|times|leq?|geq?|neq?|in|alpha|beta|gamma|delta"
    r"|epsilon|lambda|mu|sigma|theta|phi|pi|omega|left|begin|binom|log|ln|sin|cos|tan|forall|exists|equiv|p?mod|to)(?![A-Za-z])"
    r"|[∫∑√∏π≤≥≠≈∞∈∉∀∃∂∇⊂⊆∪∩≡⇒⇔ℝℤℕℚℂ∧∨¬]|\b[a-z]\^|\b[a-ln-z][²³⁴ⁿ]|\b[fghpO]\([a-z0-9]{1,3}\)"
)
# Texts without these are spared the search.
_OPERATOR_SIGNS, _NOTATION_SIGNS, _QUESTION_SIGNS = map(
    frozenset, ("=^×÷±+*/", "\\^²³⁴ⁿ∫∑√∏π≤≥≠≈∞∈∉∀∃∂∇⊂⊆∪∩≡⇒⇔ℝℤℕℚℂ∧∨¬", "?？؟")
)
_CALLS = ("f(", "g(", "h(", "p(", "O(")
# Marks together are one, and so are those that text follows without a space: an address has one.
_QUESTION = re.compile(r"[?？؟]+(?=[\s\"'»”’)\]]|$)|[？؟]")
# So many words at either end may greet or thank; further inside they are part of something else.
GREETING_WORDS = 3
# The same in scripts without spaces.
GREETING_CHARS = 10
USUAL_WORD_CHARS = 4.5
# Without spaces a word is taken for so many characters, and each of them for as much as so many Latin ones.
UNSPACED_WORD_CHARS = 1.6
UNSPACED_WEIGHT = 3.0
MOST_OPTIONS = 10
# A demand of fewer words, not parted, is a single one.
ONE_STEP_WORDS = 12
_PARTED = re.compile(r"[;；,，、،:：\n]")
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
    lower = text.lower()
    signs = set(text)
    lowered = [word.lower() for word in words]
    amounts = numerals(text, lowered) if len(words) < len(tokens) else []
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
        "numerals": log1p(len(amounts)),
        "numeral_share": len(amounts) / (n + len(amounts)),
        "big_numbers": log1p(len([token for token in amounts if len(token) > 2])),
        "years": log1p(len(_YEAR.findall(text))) if len(words) < len(tokens) else 0.0,
        "money": log1p(text.count("$") + text.count("€") + text.count("£")),
        "percents": log1p(text.count("%")),
        "operators": log1p(len(_OPERATOR.findall(text)) if not _OPERATOR_SIGNS.isdisjoint(signs) else 0),
        "symbols": log1p(_notation(text, signs)),
        "code_marks": log1p(code_marks),
        "program": float(code_marks >= PROGRAM_MARKS or "```" in text),
        "amount": float(amount),
        "story_sum": float(amount and len(amounts) > 1),
        "question_marks": log1p(len(_QUESTION.findall(text)) if not _QUESTION_SIGNS.isdisjoint(signs) else 0),
        "options": float(len(options) > 1),
        "option_words": log1p(sum(len(option[1]) for option in options) / 6.0 / max(1, len(options))),
        "option_likeness": _likeness(options, embedder) if options else 0.0,
        "option_numerals": sum(option[1][:1].isdigit() or option[1][1:2].isdigit() for option in options)
        / max(1, len(options)),
        "statements": float("tatement" in text and bool(_STATEMENT.search(text))),
        "romans": log1p(len(_ROMAN.findall(text))) if "II" in text or "IV" in text else 0.0,
        "enumerated": log1p(len(_ENUMERATED.findall(text))) if "\n" in text else 0.0,
        "blank": float("___" in text or "....." in text),
        "quotes": log1p(text.count('"') + text.count("“") + text.count("«")),
        "names": log1p(max(0, sum(map(ne, words, lowered)) - sentences)),
        "length_asked": float(_short_answer(lower, lowered, unspaced=bool(unspaced))),
        "one_step": float(n < ONE_STEP_WORDS and sentences <= 2 and not _PARTED.search(text)),
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
    if any(kind == "greetings" for _, kind in kinds):
        ends = {*lowered[:GREETING_WORDS], *lowered[-GREETING_WORDS:]}
        edges = lower[:GREETING_CHARS] + lower[-GREETING_CHARS:]
        kinds = [
            (word, kind)
            for word, kind in kinds
            if kind != "greetings" or word in ends or (UNSPACED.match(word) and word in edges)
        ]
    found.update((kind, log1p(number)) for kind, number in Counter(kind for _, kind in kinds).items())
    values = np.array([found.get(name, 0.0) for name in NAMES], np.float32)
    return Observation(values, text, word_sums.split(lower), dict(kinds), lowered, spoken)


def _notation(text: str, signs: Set[str]) -> int:
    spared = _NOTATION_SIGNS.isdisjoint(signs) and not any(call in text for call in _CALLS)
    return 0 if spared else len(_NOTATION.findall(text))


def _short_answer(lower: str, words: Sequence[str], *, unspaced: bool) -> bool:
    if unspaced:
        return _SHORT_UNSPACED.search(lower) is not None
    return not _SHORT_UNITS.isdisjoint(words) and _SHORT_ANSWER.search(lower) is not None


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
