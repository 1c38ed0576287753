"""What two wordings of one question may differ in, as `wording.toml` lists it, each with its reason."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

# Phrases, each as its words, by how many these are, the longest first.
Phrases = Mapping[int, frozenset[tuple[str, ...]]]
# Stands among the words of a sentence for a comma, a dash and the like.
BREAK = ","
HOW_TO = "how to"
# Where "does" is not said its verb has an "s": "how does it work", "how it works".
AUXILIARY = "does"

with Path(__file__).with_name("wording.toml").open("rb") as _file:
    _LISTS = tomllib.load(_file)


def _phrases(*names: str) -> Phrases:
    found = {tuple(phrase.split()) for name in names for phrase in _LISTS[name].split("|")}
    for name in names:
        # In scripts without spaces each character is a word.
        found.update(tuple(phrase.strip()) for phrase in _LISTS.get(f"{name}_unspaced", "").split("|"))
    sizes = sorted({len(phrase) for phrase in found} - {0}, reverse=True)
    return {size: frozenset(phrase for phrase in found if len(phrase) == size) for size in sizes}


def _words(name: str) -> frozenset[str]:
    return frozenset(word.strip() for word in _LISTS[name].split("|"))


GREETINGS, PLEASE, THANKS, TELL = map(_phrases, ("greetings", "please", "thanks", "tell"))
ENGLISH, OTHERS = map(_words, ("english", "others"))
COULD_YOU, FOR_ME, TELLING, MANNER = map(_phrases, ("could_you", "for_me", "telling", "manner"))
DOUBTFUL = _phrases("asking_with_determiner")
ASKING = _phrases("asking", "asking_with_determiner")
ORDERS, QUESTION_WORDS, DETERMINERS = map(_words, ("orders", "question_words", "determiners"))
MOVED, FOLLOWING = _words("moved"), _words("following") | QUESTION_WORDS | ORDERS
PRONOUNS, LIGHT = map(_words, ("pronouns", "light"))
CONTRACTIONS = {word: tuple(meant.split()) for word, meant in _LISTS["contractions"].items()}
SHORTENED: dict[str, str] = _LISTS["shortened"]
SAME = {tuple(one.split()): word for word, others in _LISTS["same"].items() for one in others.split("|")}
# By the first word of them, how many words they have, the longest first.
SAME_SIZES = {
    first: sorted({len(words) for words in SAME if words[0] == first}, reverse=True)
    for first in {words[0] for words in SAME}
}


def beginning(phrases: Phrases, words: Sequence[str]) -> int:
    """How many words the longest of the phrases has that others begin with; 0 where they begin with none."""
    first = tuple(word.casefold() for word in words[: next(iter(phrases))])
    return next((size for size, some in phrases.items() if first[:size] in some), 0)


def ending(phrases: Phrases, words: Sequence[str]) -> int:
    """The same of their end."""
    last = tuple(word.casefold() for word in words[-next(iter(phrases)) :])
    return next((size for size, some in phrases.items() if last[-size:] in some), 0)
