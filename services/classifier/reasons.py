"""Why a score is what it is, in words a person would accept.

What a reason contributes is what the score loses when it is taken out of the request: the words of one kind, all words
that are of no named kind, or what was counted of something (set to what is usual).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from math import expm1, sqrt

from services.classifier.features import COUNTED, INDEX, NAMED, NAMES, Observation
from services.classifier.heads import CATEGORIES, SCORE, Array, Heads, Judgement
from services.classifier.words import END_WEIGHT

# Reasons that are given, and the least contribution of one, as a share of the largest.
MOST = 5
LEAST = 0.1
# What a request of each category is called.
TASKS = {
    "chat": "talk",
    "factual question": "a question of fact",
    "writing": "a text to write",
    "summarization": "a text to summarize",
    "translation": "a text to translate",
    "extraction": "data to extract or sort",
    "code": "a programming task",
    "math": "a mathematical task",
    "reasoning": "a task of reasoning",
    "science": "a question of science",
    "planning": "something to plan",
    "other": "a task of no common kind",
}
# The wording as a whole, after what the request is called.
WORDING = ("worded like demanding ones", "worded like easy ones")
# What outcomes of real models say of questions of an exam, and of sums told as a story.
EXAM = ("an exam question that models often fail", "an exam question that models seldom fail")
EFFORT = ("many steps to a solution", "few steps to a solution")
# What a sentence encoder adds to all of these.
MEANING = ("read as a whole, like demanding requests", "read as a whole, like easy requests")

_WEIGHTS = (1.0, END_WEIGHT, END_WEIGHT)


@dataclass(frozen=True, slots=True)
class Factor:
    """One reason.

    Attributes:
        name: The reason in words.
        value: What was observed: a count, a length, a share or a probability; 0 for what is not counted.
        contribution: What the score would lose without it, in log-odds.
    """

    name: str
    value: float
    contribution: float


def explain(
    weights: Heads,
    judgement: Judgement,
    row: int,
    shares: Array,
    observation: Observation,
    parts: Sequence[Array],
) -> tuple[Factor, ...]:
    """The largest contributions to one row's score, named when a person would name them.

    Args:
        weights: That judged.
        judgement: Of a batch.
        row: In the batch.
        shares: The probabilities of the categories.
        observation: What was seen in the request.
        parts: Sums of each distinct word of each part of the request, as `words.Vectors.parts`.
    """
    deviations: list[float] = judgement.standard[row].tolist()
    contributions: list[float] = (weights.inputs[:, SCORE] * judgement.standard[row]).tolist()
    by_kind, unnamed = _by_kind(observation, parts)
    for kind, contribution in by_kind.items():
        contributions[INDEX[kind]] += contribution
    named = []
    for number, (names, deviation) in enumerate(zip(NAMED.values(), deviations, strict=True)):
        # What there is much of has another name than what there is little of, or none.
        if name := names[deviation <= 0]:
            named.append((number, name))
        else:
            unnamed += contributions[number]
    factors = [_wording(shares, unnamed)]
    if outcomes := float(judgement.outcomes[row]):
        names = EXAM if observation.features[INDEX["options"]] > 0 else EFFORT
        factors.append(Factor(names[outcomes < 0], 0.0, outcomes))
    for number, name in nlargest(MOST, named, key=lambda one: abs(contributions[one[0]])):
        value = _value(number, float(observation.features[number]))
        factors.append(Factor(name, value, contributions[number]))
    return _largest(factors)


def beside(factors: Sequence[Factor], weight: float, contribution: float) -> tuple[Factor, ...]:
    """The largest of the heads' reasons, each of which counts with a weight, and what an encoder contributes."""
    weighed = [replace(factor, contribution=weight * factor.contribution) for factor in factors]
    return _largest([*weighed, Factor(MEANING[contribution < 0], 0.0, contribution)])


def _largest(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    ordered = sorted(factors, key=lambda factor: -abs(factor.contribution))[:MOST]
    least = LEAST * abs(ordered[0].contribution)
    return tuple(factor for factor in ordered if abs(factor.contribution) >= least)


def _wording(shares: Array, contribution: float) -> Factor:
    """The wording as a whole, told with the likeliest kind of task."""
    best = int(shares.argmax())
    name = f"{TASKS[CATEGORIES[best]]}, {WORDING[contribution < 0]}"
    return Factor(name, round(float(shares[best]), 3), contribution)


def _by_kind(observation: Observation, parts: Sequence[Array]) -> tuple[dict[str, float], float]:
    """What the score loses without the words of each kind, and without those of none."""
    kinds = observation.kinds
    lost = dict.fromkeys(kinds.values(), 0.0)
    unnamed = 0.0
    words = observation.words
    for own, sums, weight in zip((words.whole, words.first, words.last), parts, _WEIGHTS, strict=True):
        # The score's sum and the squared length: of all words, of each kind, of all kinds.
        adds, squares = sums[:, SCORE].tolist(), sums[:, -1].tolist()
        added, squared = sum(adds), sum(squares)
        score = _score(added, squared)
        of_kind: dict[str, tuple[float, float]] = {}
        for word, add, square in zip(own, adds, squares, strict=True):
            if kind := kinds.get(word):
                less, shorter = of_kind.get(kind, (0.0, 0.0))
                of_kind[kind] = less + add, shorter + square
        for kind, (less, shorter) in of_kind.items():
            lost[kind] += weight * (score - _score(added - less, squared - shorter))
        named = [sum(values) for values in zip(*of_kind.values(), strict=True)] or [0.0, 0.0]
        unnamed += weight * (score - _score(*named))
    return lost, unnamed


def _score(added: float, squared: float) -> float:
    return added / sqrt(max(squared, 1.0))


def _value(number: int, seen: float) -> float:
    return round(expm1(seen) if NAMES[number] in COUNTED else seen, 3)
