"""Why a score is what it is, in words a person would accept.

What a reason contributes is what the score loses when it is taken out of the request: the words of one kind, or what
was counted of something (set to what is usual). What is left of the score above the threshold when all other reasons
are taken out is the wording's, so that all reasons together are how far the score is from the threshold, in log-odds.

Those that speak for the tier are told. The others were outvoted, and would call the request what it was not found to
be: of a sonnet to translate that its words are those of easy requests. The wording is told of a task that can be named;
without one it would say no more than the tier does, and nothing is said. Words are never quoted: reasons are kept with
the decision, where no text of a request may be, and what carries a sum of n-grams are "for" and "cheese".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log, sqrt

from services.classifier.features import COUNTED, INDEX, NAMES, Observation
from services.classifier.heads import CATEGORIES, SCORE, Array, Heads, Judgement
from services.classifier.sayings import BY_PLACE
from services.classifier.words import END_WEIGHT

# Reasons that are given, and the least contribution of one, as a share of the largest.
MOST = 5
LEAST = 0.1
# What is less probable of a request is left unsaid: of the categories above 98 in 100 are right on the development
# part, of those below 60.
SURE = 0.8
# What a request of each category is called; of no other it can be said what it is.
TASKS = {
    "chat": "a conversation",
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
}
# What a request is called that is surely of one of some categories, and of none of them surely.
QUESTION, QUESTIONS = "a question to answer", frozenset(("factual question", "math", "reasoning", "science"))
# Each of the next four: for a powerful model, and for a fast one. The wording as a whole, after what the request is
# called.
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


@dataclass(frozen=True, slots=True)
class Joined:
    """The score of the heads joined with that of an encoder.

    Attributes:
        score: Of both, in log-odds.
        heads: What the heads' log-odds weigh in it.
    """

    score: float
    heads: float


def explain(
    weights: Heads,
    judgement: Judgement,
    row: int,
    shares: Array,
    observation: Observation,
    parts: Sequence[Array],
    joined: Joined | None = None,
) -> tuple[Factor, ...]:
    """The largest contributions to one row's tier that a person would name; there may be none.

    Args:
        weights: That judged.
        judgement: Of a batch.
        row: In the batch.
        shares: The probabilities of the categories.
        observation: What was seen in the request.
        parts: Sums of each distinct word of each part of the request, as `words.Vectors.parts`.
        joined: The score where an encoder was asked as well.
    """
    bound = log(weights.threshold / (1.0 - weights.threshold))
    own = float(judgement.score[row]) - bound
    weight, above = (joined.heads, joined.score - bound) if joined else (1.0, own)
    chances = dict(zip(CATEGORIES, shares.tolist(), strict=True))

    factors = [
        Factor(name, value, weight * contribution)
        for name, value, contribution in _visible(weights, judgement, row, chances, observation, parts)
    ]
    if outcomes := weight * float(judgement.outcomes[row]):
        if observation.features[INDEX["options"]] > 0:
            factors.append(Factor(EXAM[outcomes < 0], 0.0, outcomes))
        elif chances["math"] >= SURE:
            factors.append(Factor(EFFORT[outcomes < 0], 0.0, outcomes))
    if joined:
        meaning = above - weight * own
        factors.append(Factor(MEANING[meaning < 0], 0.0, meaning))
    rest = above - sum(factor.contribution for factor in factors)
    task, probability = _task(chances)
    if task:
        factors.append(Factor(f"{task}, {WORDING[rest < 0]}", round(probability, 3), rest))
    return _largest([factor for factor in factors if (factor.contribution < 0) == (above < 0)])


def _task(chances: Mapping[str, float]) -> tuple[str, float]:
    """What the request is called, and how probably it is that; empty where nothing is sure enough."""
    category = max(chances, key=chances.__getitem__)
    if chances[category] >= SURE:
        return TASKS.get(category, ""), chances[category]
    asked = _probability(chances, QUESTIONS)
    return (QUESTION, asked) if asked >= SURE else ("", 0.0)


def _probability(chances: Mapping[str, float], categories: Iterable[str]) -> float:
    """That a request is of one of some categories."""
    return sum(chances[category] for category in categories)


def _largest(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    ordered = sorted(factors, key=lambda factor: -abs(factor.contribution))[:MOST]
    return tuple(
        factor for factor in ordered if abs(factor.contribution) >= LEAST * abs(ordered[0].contribution)
    )


def _visible(
    weights: Heads,
    judgement: Judgement,
    row: int,
    chances: Mapping[str, float],
    observation: Observation,
    parts: Sequence[Array],
) -> Iterator[tuple[str, float, float]]:
    """Name, value and contribution of what can be seen in the text and speaks for the tier that it should."""
    lost = _by_kind(observation, parts)
    standard, inputs = judgement.standard[row], weights.inputs
    for place, saying in BY_PLACE:
        value = _value(place, float(observation.features[place]))
        if value < saying.least or (saying.of and _probability(chances, saying.of) < SURE):
            continue
        contribution = float(standard[place] * inputs[place, SCORE]) + lost.get(NAMES[place], 0.0)
        if contribution > 0 if saying.powerful else contribution < 0:
            yield saying.name, value, contribution


def _by_kind(observation: Observation, parts: Sequence[Array]) -> dict[str, float]:
    """What the score loses without the words of each kind."""
    kinds = observation.kinds
    lost = dict.fromkeys(kinds.values(), 0.0)
    words = observation.words
    for own, sums, weight in zip((words.whole, words.first, words.last), parts, _WEIGHTS, strict=True):
        # The score's sum and the squared length: of all words, and of each kind.
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
    return lost


def _score(added: float, squared: float) -> float:
    return added / sqrt(max(squared, 1.0))


def _value(number: int, seen: float) -> float:
    return round(expm1(seen) if NAMES[number] in COUNTED else seen, 3)
