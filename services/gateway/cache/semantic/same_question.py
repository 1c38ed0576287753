"""Whether two questions say the same: they do when nothing differs, once what is harmless is left out.

They are compared to the character, with their accents, signs and spaces. So nothing has to know what would make another
question of one: a changed number, name, negation, comma or indentation refuses. What two wordings may differ in is
listed (`wording.toml`): beginnings, ends, contractions and the capitals of some names. Only plain prose is read so:
code, formulas, quotations, texts of several lines and texts about words must be equal.
"""

import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from services.gateway.cache.semantic import wording
from services.gateway.cache.semantic.wording import ENGLISH, LANGUAGES, Language

# So many courtesies are left out at either end of a text.
MOST_COURTESIES = 4
_BREAKS = (", ", ". ", "! ", "، ", "，", "。", "！")
_SENTENCE_ENDS = ".!?؟。！？"
# What words of prose end with, beside letters and digits, and what stands within them.
_ENDS = ",;.?؟،。？，"
_JOINTS = "'-.,"


@dataclass(frozen=True, slots=True)
class Reading:
    """A question without what two wordings of it may differ in.

    Attributes:
        form: What is left of it.
        english: It is English prose, whose letter case is read, too.
        small: It was written without any capital.

    """

    form: str
    english: bool = False
    small: bool = False


def read(text: str) -> Reading:
    """Read a question."""
    text = unicodedata.normalize("NFC", text).strip()
    plain = text.replace("’", "'")
    for language in LANGUAGES:
        bare = _without_courtesies(plain, language)
        form = _english(bare) if language is ENGLISH else _asked(bare, language)
        if form and _is_prose(bare):
            return Reading(form, language is ENGLISH, text.islower())
    return Reading(text)


def same(one: Reading, other: Reading) -> bool:
    """Whether an answer to the first question is one to the second."""
    if one.form == other.form:
        return True
    if not (one.english and other.english and (one.small or other.small)):
        return False
    return _differ_in_case(one.form.split(" "), other.form.split(" "))


def _asked(text: str, language: Language) -> str:
    """A question without its mark; empty where nothing says that it is one."""
    text = text.removeprefix("¿")
    if wording.beginning(text, language.openings) or any(word in text for word in language.asking):
        return _without_mark(_small_first(text))
    return ""


def _english(text: str) -> str:
    asked = text[wording.beginning(text, wording.PLEASE) :]
    told = asked[wording.beginning(asked, wording.TELLING) :]
    if told != asked and wording.beginning(told, wording.QUESTION_WORDS):
        form = _direct(_without_mark(_small_first(told)))
    elif wording.beginning(asked, ENGLISH.orders):
        form = _without_mark(_small_first(asked))
    elif wording.beginning(text, wording.STATEMENTS):
        form = text
    else:
        form = _asked(asked if wording.beginning(asked, wording.QUESTION_WORDS) else text, ENGLISH)
    return " ".join(_expanded(form.split(" "))) if form else ""


def _direct(question: str) -> str:
    """The question of "tell me what entropy is": "what is entropy"."""
    first, _, rest = question.partition(" ")
    subject, _, verb = rest.rpartition(" ")
    # A comma divides clauses, and only one of them would be turned.
    if first == "what" and subject and verb in ("is", "are") and "," not in subject:
        return f"{first} {verb} {subject}"
    return question


def _expanded(words: list[str]) -> list[str]:
    """The words with "what's the" as "what is the", and "I haven't" as "I have not"."""
    # Both may be what is asked about.
    if "or" in words or "and" in words:
        return words
    start, apostrophe, end = words[0].partition("'")
    after = words[1:2]
    # "Who's left" may be "who has left".
    if apostrophe and end == "s" and (start in wording.OF_PLACE or set(after) & wording.DETERMINERS):
        words = [start, "is", *words[1:]]
    expanded = words[:1]
    for before, word in pairwise(words):
        expanded.append(wording.NEGATIONS.get(word, word) if before in wording.PRONOUNS else word)
    return [wording.PRONOUNS_AND_VERBS.get(word, word) for word in expanded]


def _differ_in_case(one: list[str], other: list[str]) -> bool:
    """Whether texts differ only in capitals that who wrote none left out."""
    if len(one) != len(other):
        return False
    before = ["", *one[:-1]]
    return all(pair[0] == pair[1] or _same_word(*pair) for pair in zip(one, other, before, strict=True))


def _same_word(one: str, other: str, before: str) -> bool:
    word = min(one, other, key=str.islower)
    small = word.lower()
    if small != one.lower() or small != other.lower():
        return False
    bare = small.rstrip(_ENDS)
    if bare == "i":
        return before in wording.BEFORE_I
    if before[-1:] in _SENTENCE_ENDS and bare in ENGLISH.openings:
        return True
    return bare in wording.NAMES and word[1:].islower()


def _without_courtesies(text: str, language: Language) -> str:
    for _ in range(MOST_COURTESIES):
        size = wording.beginning(text, language.greetings, ends=_BREAKS)
        if not size:
            break
        text = text[size:]
    for _ in range(MOST_COURTESIES):
        bare = text.rstrip(_SENTENCE_ENDS)
        size = wording.ending(bare, language.thanks)
        before = bare[: len(bare) - size]
        # Behind a comma other courtesies may be the last of what is listed.
        please = language is ENGLISH and bare.endswith(" please") and before.endswith(",")
        if not size or not (please or before.endswith(tuple(_SENTENCE_ENDS))):
            break
        text = before.removesuffix(",")
    return text


def _is_prose(text: str) -> bool:
    words = _without_mark(text.removeprefix("¿")).split(" ")
    return all(map(_is_word, words)) and not any(
        word.lower().rstrip(_ENDS) in wording.ABOUT_WORDS for word in words
    )


def _is_word(text: str) -> bool:
    core = text[:-1] if text[-1:] and text[-1] in _ENDS else text
    return bool(core) and all(_is_letter(char) or char in _JOINTS for char in core) and core[0] not in _JOINTS


def _is_letter(char: str) -> bool:
    # Vowel signs and accents may be characters of their own.
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def _without_mark(text: str) -> str:
    bare = text.rstrip(_SENTENCE_ENDS)
    # "!" may be a factorial.
    return bare if text[len(bare) : len(bare) + 1] != "!" else text


def _small_first(text: str) -> str:
    return text[:1].lower() + text[1:]
