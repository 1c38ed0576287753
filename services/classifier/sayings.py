"""What a person would name as a reason for a tier, and when it may be said.

Most of what is counted helps the score and is no reason: that something sounds technical, is long, or speaks of money
says nothing about the model that it needs. What is listed here can be seen in the text, speaks for one tier only, and
is said where it means what its name says: "derive" asks for a derivation in mathematics and not in a letter, "compare"
for a comparison and not in the name of a function.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.classifier.features import NAMES


@dataclass(frozen=True, slots=True)
class Saying:
    """A reason in words.

    Attributes:
        name: The words.
        powerful: Whether it speaks for a powerful model or for a fast one; said only where it does.
        least: From how much on it is true, as a count, share or length.
        of: The categories that it is said of, where one of them is all but sure; empty for all.
    """

    name: str
    powerful: bool
    least: float = 1.0
    of: frozenset[str] = frozenset()


EXACT = frozenset(("math", "science"))
ARGUED = EXACT | {"reasoning", "code"}
# The questions of these are the person's own, and no part of a text to work on.
ASKED = frozenset(("factual question", "math", "reasoning", "science", "planning"))
MADE = frozenset(("writing", "translation", "summarization", "planning", "code", "other"))
# A short answer to these is all that there is to write.
ANSWERED = ASKED - {"planning"} | {"chat", "summarization", "writing", "other"}

# A feature -> what is said of it. Two sentences that end in a question mark may be one question.
SAYINGS: Mapping[str, Saying] = {
    "one_step": Saying("a single short demand", powerful=False),
    "length_asked": Saying("a short answer asked for", powerful=False, of=ANSWERED),
    "correcting": Saying("slips of spelling to put right", powerful=False, of=frozenset(("writing",))),
    "numerals": Saying("several numbers to work with", powerful=True, least=4, of=EXACT),
    "operators": Saying("formulas to work with", powerful=True, least=3, of=EXACT),
    "symbols": Saying("mathematical notation", powerful=True, of=ARGUED),
    "program": Saying("a program to read", powerful=True, of=frozenset(("code",))),
    "question_marks": Saying("several questions", powerful=True, least=3, of=ASKED),
    "enumerated": Saying("several points in a list", powerful=True, least=3, of=ARGUED | {"planning"}),
    "options": Saying("answers to choose from", powerful=False),
    "option_words": Saying("long answers to choose from", powerful=True, least=6),
    "option_likeness": Saying("answers that resemble each other", powerful=True, least=0.3),
    "statements": Saying("statements to judge", powerful=True),
    "playing": Saying("a role to play", powerful=True, of=frozenset(("chat",))),
    "why": Saying("an explanation asked for", powerful=True, of=ASKED | {"code"}),
    "proof": Saying("a proof or a derivation asked for", powerful=True, of=ARGUED - {"science"}),
    "weighing": Saying("things to compare or to weigh", powerful=True, of=ASKED | {"other"}),
    "logic": Saying("words of logic", powerful=True, least=2, of=frozenset(("reasoning",))),
    "negation": Saying("several negations to heed", powerful=True, least=4, of=frozenset(("reasoning",))),
    "constraints": Saying("constraints to respect", powerful=True, least=2, of=MADE),
    "history": Saying("a long conversation so far", powerful=True, least=1000),
    "system": Saying("long instructions", powerful=True, least=600),
    "tools": Saying("functions to call", powerful=True),
}
BY_PLACE = tuple((place, SAYINGS[name]) for place, name in enumerate(NAMES) if name in SAYINGS)
