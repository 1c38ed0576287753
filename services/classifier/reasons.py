"""Why a score is what it is, in words a person would accept."""

from dataclasses import dataclass
from math import expm1

from services.classifier.features import COUNTED, NAMED, NAMES
from services.classifier.heads import CATEGORIES, Array, Heads, Judgement

# Reasons that are given, and the least contribution of one, as a share of the largest.
MOST = 5
LEAST = 0.1
# What a category is called as a reason.
TASKS = {
    "chat": "ordinary talk",
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
    "other": "no particular kind of task",
}
TOPIC = "its topic and wording"
EFFORT = ("many steps to a solution", "few steps to a solution")


@dataclass(frozen=True, slots=True)
class Factor:
    """One reason.

    Attributes:
        name: The reason in words.
        value: What was observed: a count, a length, a share or a probability; 0 for what is not counted.
        contribution: What it added to the score, in log-odds, against the average prompt.
    """

    name: str
    value: float
    contribution: float


def explain(weights: Heads, judgement: Judgement, row: int, inputs: Array) -> tuple[Factor, ...]:
    """The largest contributions to one row's score, named when a person would name them.

    The kind of task counts as far as the request is of that kind. What has no name (other kinds that it might be of,
    the embedding, words that do not occur) is added up as topic and wording.
    """
    size = len(NAMES)
    standard = judgement.standard[row, :size].tolist()
    parts = weights.win * judgement.standard[row]
    added = parts[:size].tolist()
    kind, unnamed = _kind(weights, judgement.category[row])
    unnamed += float(parts[size:].sum())
    effort = float(judgement.effort[row])
    factors = [kind, Factor(EFFORT[effort < 0], 0.0, effort)]
    for number, contribution in enumerate(added):
        named = NAMED[NAMES[number]][standard[number] <= 0]
        if named:
            factors.append(Factor(named, _value(number, float(inputs[number])), contribution))
        else:
            unnamed += contribution
    factors.append(Factor(TOPIC, 0.0, unnamed))
    factors.sort(key=lambda factor: -abs(factor.contribution))
    least = LEAST * abs(factors[0].contribution)
    return tuple(factor for factor in factors[:MOST] if abs(factor.contribution) >= least)


def _kind(weights: Heads, categories: Array) -> tuple[Factor, float]:
    """The likeliest kind of task, and what the other kinds add."""
    shares, priors = categories.tolist(), weights.prior.tolist()
    usual = sum(priors) / len(priors)
    best = max(range(len(shares)), key=shares.__getitem__)
    contribution = shares[best] * (priors[best] - usual)
    others = sum(share * (prior - usual) for share, prior in zip(shares, priors, strict=True)) - contribution
    return Factor(TASKS[CATEGORIES[best]], round(shares[best], 3), contribution), others


def _value(number: int, seen: float) -> float:
    return round(expm1(seen) if NAMES[number] in COUNTED else seen, 3)
