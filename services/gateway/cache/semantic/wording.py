"""What two wordings of one question may differ in, as `wording.toml` lists it, each with its reason."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Phrases = frozenset[str]

with Path(__file__).with_name("wording.toml").open("rb") as _file:
    _LISTS = tomllib.load(_file)
# The characters of the longest phrase.
LONGEST = 40


@dataclass(frozen=True, slots=True)
class Language:
    """What begins a question or an order in a language, and what is only courteous there."""

    openings: Phrases
    orders: Phrases
    greetings: Phrases
    thanks: Phrases
    asking: Phrases


def _phrases(listed: str) -> Phrases:
    found = frozenset(phrase.strip() for phrase in listed.split("|")) - {""}
    if any(len(phrase) > LONGEST for phrase in found):
        raise ValueError(f"wording.toml: expected phrases of at most {LONGEST} characters")
    return found


def _language(lists: dict[str, str]) -> Language:
    return Language(
        *(_phrases(lists.get(name, "")) for name in ("openings", "orders", "greetings", "thanks", "asking"))
    )


_BY_NAME = {name: _language(lists) for name, lists in _LISTS["languages"].items()}
ENGLISH = _BY_NAME["en"]
LANGUAGES: Collection[Language] = tuple(_BY_NAME.values())
(
    PLEASE,
    TELLING,
    QUESTION_WORDS,
    STATEMENTS,
    OF_PLACE,
    DETERMINERS,
    PRONOUNS,
    BEFORE_I,
    ABOUT_WORDS,
    NAMES,
) = (
    _phrases(_LISTS["english"][name])
    for name in (
        "please telling question_words statements of_place determiners pronouns before_i about_words names".split()
    )
)
NEGATIONS: Mapping[str, str] = _LISTS["english"]["negations"]
PRONOUNS_AND_VERBS: Mapping[str, str] = _LISTS["english"]["pronouns_and_verbs"]


def beginning(text: str, phrases: Phrases, *, ends: Sequence[str] = (" ",)) -> int:
    """How many characters the longest phrase has that a text begins with, with its end; 0 where it begins with none.

    The first letter may be a capital: others tell, as in "WHO".
    """
    small = text[:1].lower() + text[1 : LONGEST + 1]
    for size in range(len(small) - 1, 0, -1):
        if small[:size] in phrases and (end := next((end for end in ends if text.startswith(end, size)), "")):
            return size + len(end)
    return 0


def ending(text: str, phrases: Phrases) -> int:
    """The same of the end of a text, with the space before the phrase."""
    last = text[-LONGEST - 1 :]
    for start, char in enumerate(last):
        phrase = last[start + 1 :]
        if char == " " and phrase[:1].lower() + phrase[1:] in phrases:
            return len(phrase) + 1
    return 0
