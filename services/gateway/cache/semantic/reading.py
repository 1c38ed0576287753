"""Whether two questions say the same: they do when their words agree, in their order.

Nothing has to know what would make another question of one. A changed number, unit, name, date or language, a negation,
an opposite, a word more or less, an exchange of two: each is another word, in any language, and is refused. What two
wordings of one question may differ in is listed (`wording.toml`), and left out before they are compared. Code is
compared as it stands, and so are quotations and what follows a colon.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.gateway.cache.semantic import tokens, wording

# What is hardly ever part of a text without code.
_CODE = re.compile(r"[`{}\[\]=<>|\\^_*~#]|\$(?!\d)|\w\(|&&|\+\+|--|//|[+×÷/−-]\s*\(|\)\s*[+×÷/−-]")
_ENDS = ".!?… "
# So many courtesies are left out at either end of a text.
MOST_COURTESIES = 8
# From so many words on they tell their language, names and numbers among them.
FEW_WORDS = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What is compared of a question.

    Attributes:
        words: Its words, numbers and signs, in their order.
        payload: What follows its first colon or line, as it stands.
        auxiliary: Whether "does" was left out, so that a verb goes without its "s".
        language_known: Whether the words tell the language of the answer. Where they are few, a courtesy that was left
            out may have told it: "photosynthèse, s'il vous plaît".

    """

    words: tuple[str, ...]
    payload: str
    auxiliary: bool
    language_known: bool


def same(first: str, second: str) -> bool:
    """Whether an answer to the first question is one to the second."""
    first, second = (unicodedata.normalize("NFC", text).strip() for text in (first, second))
    if _CODE.search(first) or _CODE.search(second):
        return first.rstrip(_ENDS).split() == second.rstrip(_ENDS).split()
    # Who types no capitals, or no accents, leaves out all of them.
    folded = any(text.islower() or text.isupper() for text in (first, second))
    if first.isascii() or second.isascii():
        first, second = _without_accents(first), _without_accents(second)
    one, other = read(first, folded=folded), read(second, folded=folded)
    if not one.words or one.payload != other.payload or not (one.language_known and other.language_known):
        return False
    return _agree(one, other)


def read(text: str, *, folded: bool) -> Reading:
    """Read a question; `folded` as in `tokens.divided`."""
    question = tokens.divided(text, folded=folded)
    sentences = _without_courtesies(question.sentences)
    if question.payload and not sentences:
        # "Hello:" and a line of its own.
        question = tokens.divided(question.payload, folded=folded)
        sentences = _without_courtesies(question.sentences)
    said = {part for sentence in question.sentences for word in sentence for part in (word, *_unfolded(word))}
    english = bool(said & wording.ENGLISH) and not said & wording.OTHERS
    if english:
        sentences = [tuple(_english(sentence, folded=folded)) for sentence in sentences]
    return Reading(
        tuple(word for sentence in sentences for word in sentence if word != wording.BREAK),
        question.payload,
        english and wording.AUXILIARY in said,
        english or sentences == list(question.sentences) or sum(map(len, sentences)) >= FEW_WORDS,
    )


def _agree(one: Reading, other: Reading) -> bool:
    if one.words == other.words:
        return True
    # "how does it work" and "how it works": one verb, and the "s" on the side without "does".
    if len(one.words) != len(other.words) or one.auxiliary == other.auxiliary:
        return False
    bare, full = (one, other) if one.auxiliary else (other, one)
    pairs = [(short, long) for short, long in zip(bare.words, full.words, strict=True) if short != long]
    return len(pairs) == 1 and pairs[0][1] in (pairs[0][0] + "s", pairs[0][0] + "es")


def _without_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def _without_courtesies(sentences: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Sentences without the courtesies before the first words that ask for something, and after the last."""
    left = list(sentences)
    for _ in range(MOST_COURTESIES):
        if not left or not (size := _greeting(left[0])):
            break
        left[0] = left[0][size:]
        left = left if left[0] else left[1:]
    for _ in range(MOST_COURTESIES):
        if not left or not (size := _thanks(left[-1])):
            break
        left[-1] = left[-1][:-size]
        left = left if left[-1] else left[:-1]
    return left


def _greeting(words: tuple[str, ...]) -> int:
    """How many words at the beginning of a sentence are a courtesy, with the break behind it."""
    size = wording.beginning(wording.GREETINGS, words)
    if words[size : size + 1] not in ((), (wording.BREAK,)):
        size = 0
    size = max(size, wording.beginning(wording.PLEASE, words))
    return size + (words[size : size + 1] == (wording.BREAK,))


def _thanks(words: tuple[str, ...]) -> int:
    """How many words at the end of a sentence are a courtesy, with the break before it."""
    size = wording.ending(wording.THANKS, words)
    if words[: len(words) - size][-1:] not in ((), (wording.BREAK,)):
        size = 0
    size = max(size, wording.ending(wording.TELL, words))
    return size + (words[: len(words) - size][-1:] == (wording.BREAK,))


def _english(sentence: Sequence[str], *, folded: bool) -> Iterator[str]:
    """The words of an English sentence in the form in which they are compared."""
    words = _rotated(_inverted([part for word in sentence for part in _unfolded(word)]))
    words = _ordered([word for word in words if word != wording.BREAK])
    size = wording.beginning(wording.TELLING, words)
    if words[size : size + 1] and words[size] in wording.QUESTION_WORDS:
        words = words[size:]
        if words[0] == "what" and words[-1] in ("is", "are"):
            # "tell me what entropy is"
            words = ["what", words[-1], *words[1:-1]]
    if size := wording.beginning(wording.MANNER, words):
        yield wording.HOW_TO
    else:
        size = _asking(words)
        # "give me a recipe", "recipe"
        size += words[size : size + 1] in (["a"], ["an"])
    light = [word for word in words[size:] if word not in wording.LIGHT]
    for word in _replaced(light):
        yield word.casefold() if folded else word


def _asking(words: list[str]) -> int:
    """How many words at the beginning only ask for what follows."""
    size = wording.beginning(wording.ASKING, words)
    if wording.beginning(wording.DOUBTFUL, words) == size:
        return size if set(words[size : size + 1]) & wording.DETERMINERS else 0
    return size


def _unfolded(word: str) -> Sequence[str]:
    """The words that an apostrophe made one."""
    if known := wording.CONTRACTIONS.get(word):
        return known
    for end, meant in wording.SHORTENED.items() if "'" in word else ():
        if word.endswith(end) and len(word) > len(end):
            return (word.removesuffix(end), meant)
    return (word,)


def _inverted(words: list[str]) -> list[str]:
    """The words with "not" behind the pronoun: "can't I" is "can I not"."""
    turned = list(words)
    for place, (word, after) in enumerate(pairwise(words)):
        if word == "not" and after in wording.PRONOUNS:
            turned[place], turned[place + 1] = after, word
    return turned


def _rotated(words: list[str]) -> list[str]:
    """A sentence with the clause at its end that stands before a question or an order."""
    if words[:1] and words[0] in wording.MOVED and wording.BREAK in words:
        place = words.index(wording.BREAK)
        if words[place + 1 : place + 2] and words[place + 1] in wording.FOLLOWING:
            return [*words[place + 1 :], *words[:place]]
    return words


def _ordered(words: list[str]) -> list[str]:
    """A sentence without "could you" and the like before an order."""
    size = wording.beginning(wording.COULD_YOU, words)
    order = _infinitive(words[size]) if len(words) > size else ""
    if order not in wording.ORDERS:
        return words
    rest = words[size + 1 :]
    return [order, *rest[: len(rest) - wording.ending(wording.FOR_ME, rest)]]


def _infinitive(word: str) -> str:
    stem = word.removesuffix("ing")
    return next((form for form in (word, stem, stem + "e") if form in wording.ORDERS), word)


def _replaced(words: Sequence[str]) -> Iterator[str]:
    """The words, those with a synonym as that."""
    place = 0
    while place < len(words):
        for size in wording.SAME_SIZES.get(words[place], ()):
            if found := wording.SAME.get(tuple(words[place : place + size])):
                yield found
                place += size
                break
        else:
            yield words[place]
            place += 1
