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
TOPIC = "the topic and wording"
EFFORT = ("many steps to a solution", "few steps to a solution")


@dataclass(frozen=True, slots=True)
class Factor:
    """One reason.

    Attributes:
        name: The reason in words.
        value: What was observed: a count, a length, a share or a probability.
        contribution: What it added to the score, in log-odds, against the average prompt.
    """

    name: str
    value: float
    contribution: float


def explain(weights: Heads, judgement: Judgement, row: int, inputs: Array) -> tuple[Factor, ...]:
    """The largest contributions to one row's score; the kind of task, topic and effort count as one each."""
    size = len(NAMES)
    standard = judgement.standard[row, :size].tolist()
    parts = weights.win * judgement.standard[row]
    topic = float(parts[size:].sum())
    added = parts[:size].tolist()
    effort = float(judgement.effort[row])
    factors = [
        _kind(weights, judgement.category[row]),
        Factor(TOPIC, 1.0, topic),
        Factor(EFFORT[effort < 0], 1.0, effort),
    ]
    sizes = list(map(abs, added))
    for number in sorted(range(size), key=sizes.__getitem__, reverse=True)[:MOST]:
        name = NAMES[number]
        raw = float(inputs[number])
        value = expm1(raw) if name in COUNTED else raw
        factors.append(Factor(NAMED[name][standard[number] <= 0], round(value, 3), added[number]))
    factors.sort(key=lambda factor: -abs(factor.contribution))
    least = LEAST * abs(factors[0].contribution)
    return tuple(factor for factor in factors[:MOST] if abs(factor.contribution) >= least)


def _kind(weights: Heads, categories: Array) -> Factor:
    shares = categories.tolist()
    share = max(shares)
    added = float(categories @ weights.prior) - sum(weights.prior.tolist()) / len(shares)
    return Factor(TASKS[CATEGORIES[shares.index(share)]], round(share, 3), added)
