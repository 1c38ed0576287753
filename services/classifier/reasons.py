"""Why a score is what it is, in words a person would accept.

What a reason contributes is what the score loses when it is taken out of the request: the words of one kind, all words
that are of no named kind, or what was counted of something (set to what is usual).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import expm1, sqrt

import numpy as np

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
# Whether much, and little, of what a feature counts is a reason.
_NAMED_MANY, _NAMED_FEW = np.array([[bool(name) for name in names] for names in NAMED.values()]).T


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
    standard = judgement.standard[row]
    contributions = weights.inputs[:, SCORE] * standard
    by_kind, unnamed = _by_kind(observation, parts)
    for kind, contribution in by_kind.items():
        contributions[INDEX[kind]] += contribution
    named = np.where(standard > 0, _NAMED_MANY, _NAMED_FEW)
    told = _wording(shares, unnamed + float(contributions[~named].sum()))
    factors = [told]
    if outcomes := float(judgement.outcomes[row]):
        names = EXAM if observation.features[INDEX["options"]] > 0 else EFFORT
        factors.append(Factor(names[outcomes < 0], 0.0, outcomes))
    contributions[~named] = 0.0
    for number in np.argsort(-np.abs(contributions))[:MOST].tolist():
        name = NAMED[NAMES[number]][bool(standard[number] <= 0)]
        if name:
            value = _value(number, float(observation.features[number]))
            factors.append(Factor(name, value, float(contributions[number])))
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
        added, squared = float(sums[:, SCORE].sum()), float(sums[:, -1].sum())
        score = _score(added, squared)
        groups: dict[str, list[int]] = {}
        for place, word in enumerate(own):
            if word in kinds:
                groups.setdefault(kinds[word], []).append(place)
        of_kinds = [0.0, 0.0]
        for kind, places in groups.items():
            less = sums[places, SCORE].sum(), sums[places, -1].sum()
            lost[kind] += weight * (score - _score(added - float(less[0]), squared - float(less[1])))
            of_kinds = [of_kinds[0] + float(less[0]), of_kinds[1] + float(less[1])]
        unnamed += weight * (score - _score(*of_kinds))
    return lost, unnamed


def _score(added: float, squared: float) -> float:
    return added / sqrt(max(squared, 1.0))


def _value(number: int, seen: float) -> float:
    return round(expm1(seen) if NAMES[number] in COUNTED else seen, 3)
