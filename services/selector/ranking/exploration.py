"""Which model comes first without and with what outcomes have taught, and now and then another one, to learn of it.

A request explores with a small probability, and only among models that pass all filters and the quality floor, cost no
more than what is left of the day's budget, and might be the best one within what is known of them. Where the policies
of today and of learned evidence differ, half of what is explored is what the other one would have chosen, so that they
can be compared. The probability of each choice is recorded: it is what the comparison rests on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.chassis.draws import fraction, weighted
from services.chassis.eligibility import Requirements
from services.selector.models.deployment_table import Array, DeploymentTable
from services.selector.models.learned import LearnedRanking
from services.selector.models.options import PARTS
from services.selector.ranking.rank import Scores

# Of what is explored where the two policies differ.
OF_THE_OTHER = 0.5
RANK, QUALITY = PARTS.index("benchmark_ranking"), PARTS.index("benchmark_score")
# Nano-USD for a token at a dollar per million tokens.
NANO_PER_TOKEN = 1000


@dataclass(frozen=True, slots=True)
class Learned:
    """What a selection may use of what outcomes have taught.

    Attributes:
        by: The ranking at requests of its kind.
        level: The request's level.
        acts: Whether that ranking holds, or today's.
        share: The probability of exploring.
        left_nano_usd: The most that exploring may cost more than not exploring, in nano-USD.
        explored: The deployment that was explored, where a selection of the past is made again.

    """

    by: LearnedRanking
    level: int = 0
    acts: bool = False
    share: float = 0.0
    left_nano_usd: int = 0
    explored: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A deployment that might come first: its place in the table, the probability, and the quality of its model."""

    index: int
    probability: float
    quality: float


@dataclass(frozen=True, slots=True)
class Learning:
    """What is recorded of a selection, so that its outcome can be learnt from.

    Attributes:
        level: The request's level.
        chosen: What came first.
        current: What comes first by today's policy.
        learned: What comes first by what outcomes have taught.
        explored: Whether the first was put there to learn of it.
        extra_nano_usd: The most that costs more than not exploring, for the same tokens.

    """

    level: int
    chosen: Choice
    current: Choice
    learned: Choice
    explored: bool = False
    extra_nano_usd: int = 0


def choose(
    table: DeploymentTable,
    learned: Learned,
    listed: Sequence[int],
    scores: Scores,
    others: Array,
    requirements: Requirements,
    seed: str,
    *,
    powerful: bool,
) -> Learning:
    """Choose what comes first.

    Args:
        table: The deployments.
        learned: What outcomes have taught, and how far this request may explore.
        listed: What may be tried without a cause, best first by the policy that holds.
        scores: By that policy.
        others: The keys by which the other policy orders.
        requirements: What the request needs.
        seed: Decides whether the request explores, and what.
        powerful: The request's tier.
    """
    held = listed[0]
    # One of each model: the first.
    firsts: dict[int, int] = {}
    for index in listed:
        firsts.setdefault(int(table.model_of[index]), index)
    other = max(firsts.values(), key=lambda index: float(others[index]))
    if table.model_of[other] == table.model_of[held]:
        other = held
    extra: dict[int, int] = {}
    if learned.share:
        preferred = learned.by.ranking.fast & (learned.by.ranking.powerful if powerful else True)
        low = _moved(scores, learned.by.low, learned.by.rank_low, held)
        for index in firsts.values():
            if index == held or not preferred[index]:
                continue
            if index != other and _moved(scores, learned.by.high, learned.by.rank_high, index) < low:
                continue
            cost = _extra(table, requirements, index, held)
            if cost is not None and cost <= learned.left_nano_usd:
                extra[index] = cost
    probabilities = _probabilities(learned.share, held, other, tuple(extra))
    if learned.explored:
        chosen = next((index for index in listed if table.deployments[index].id == learned.explored), held)
    else:
        places = tuple(probabilities)
        chosen = places[weighted([probabilities[index] for index in places], fraction(f"{seed}/explore"))]
    current, by_outcomes = (other, held) if learned.acts else (held, other)

    def choice(index: int) -> Choice:
        return Choice(index, probabilities.get(index, 0.0), float(learned.by.ranking.quality[index]))

    return Learning(
        learned.level,
        chosen=choice(chosen),
        current=choice(current),
        learned=choice(by_outcomes),
        explored=chosen != held,
        extra_nano_usd=extra.get(chosen, 0),
    )


def _probabilities(share: float, held: int, other: int, explorable: Sequence[int]) -> Mapping[int, float]:
    """That of each choice; they add up to 1, and all but what is held to the share."""
    if not explorable:
        return {held: 1.0}
    apart = share * OF_THE_OTHER if other in explorable else 0.0
    found = dict.fromkeys(explorable, (share - apart) / len(explorable))
    if apart:
        found[other] += apart
    return {held: 1.0 - share, **found}


def _moved(scores: Scores, quality: Array, rank: Array, index: int) -> float:
    """A deployment's score if its model were of another quality."""
    return float(
        scores.score[index]
        + scores.weights[RANK] * (rank[index] - scores.parts[RANK][index])
        + scores.weights[QUALITY] * (quality[index] - scores.parts[QUALITY][index])
    )


def _extra(table: DeploymentTable, requirements: Requirements, index: int, held: int) -> int | None:
    """The most that one deployment costs more than another for the same tokens; None where nobody knows it."""
    if not (table.deployments[index].price.known and table.deployments[held].price.known):
        return None
    answer = (requirements.output_tokens or float(table.longest_answer[index])) * requirements.choices
    dearer = requirements.prompt_tokens * max(0.0, float(table.input_price[index] - table.input_price[held]))
    dearer += answer * max(0.0, float(table.output_price[index] - table.output_price[held]))
    return math.ceil(dearer * NANO_PER_TOKEN)
