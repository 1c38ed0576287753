"""Score the deployments that passed the filters, and put them in order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from services.chassis.draws import fraction, weighted
from services.chassis.eligibility import Requirements
from services.selector.live.snapshot import Snapshot
from services.selector.models.deployment_table import Array, CategoryRanking, DeploymentTable, Indices, Mask
from services.selector.models.options import PARTS

# What an answer is expected to take, in tokens, unless it is capped below.
EXPECTED_OUTPUT = 500
# A request at a dollar per million tokens is worth half; free is worth 1.
HALF_PRICE = 1.0
# A deployment that answers within a second is worth half; at once is worth 1.
HALF_LATENCY_MS = 1000.0
# More than any difference between scores: what the tier prefers comes first.
PREFERRED = 10.0
# Equal deployments listed at most, so that an outage of their provider leaves something to fall back on.
MOST_EQUAL = 3
# Less than any difference between scores that means something.
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Scores:
    """Every deployment's score and the parts it is made of, in the order of PARTS."""

    score: Array
    parts: tuple[Array, ...]
    weights: tuple[float, ...]


def efficiency(table: DeploymentTable, requirements: Requirements) -> Array:
    """How cheap this request is on each deployment: 1 for free, a half at a dollar per million tokens."""
    prompt = requirements.expected_prompt_tokens or 1
    answer = min(requirements.output_tokens or EXPECTED_OUTPUT, EXPECTED_OUTPUT) * requirements.choices
    share = prompt / (prompt + answer)
    return HALF_PRICE / (HALF_PRICE + share * table.input_price + (1.0 - share) * table.output_price)


def score(
    table: DeploymentTable,
    ranking: CategoryRanking,
    snapshot: Snapshot,
    requirements: Requirements,
    weights: tuple[float, ...],
    recent: Array | float = 1.0,
) -> Scores:
    """The weighted sum of the parts, each from 0 to 1; the weights count by their shares."""
    parts = (
        ranking.rank,
        ranking.quality,
        snapshot.availability,
        table.priority,
        np.broadcast_to(np.asarray(recent, dtype=np.float64), table.priority.shape),
        efficiency(table, requirements),
        HALF_LATENCY_MS / (HALF_LATENCY_MS + snapshot.latency_ms),
    )
    total = sum(weights) or 1.0
    shares = tuple(weight / total for weight in weights)
    result = np.zeros(len(table))
    for part, share in zip(parts, shares, strict=True):
        if share:
            result += share * part
    return Scores(result, parts, shares)


def order(
    table: DeploymentTable,
    keys: Array,
    mask: Mask,
    snapshot: Snapshot,
    seed: str,
    most: int,
    *,
    by_keys: bool = False,
) -> list[int]:
    """The best `most` deployments of a mask, best first, by `keys`.

    Load is spread over deployments that are the same thing at the same price: of two drawn by the seed, the one with
    more headroom and less latency takes the best of their places. LiteLLM's `order` within one model is kept. With
    `by_keys`, none is listed after one of a lesser key for the sake of variety.
    """
    left: Indices = np.flatnonzero(mask)
    ranked: list[int] = left[np.argsort(-keys[left], kind="stable")].tolist()
    if table.ordered:
        _keep_order(table, ranked)
    listed = _varied(table, ranked, most, by_keys=by_keys)
    seen: set[int] = set()
    for place, index in enumerate(listed):
        number = table.class_of[index]
        if len(table.classes[number]) == 1 or number in seen:
            continue
        seen.add(number)
        equals = [member for member in table.classes[number] if mask[member]]
        if len(equals) > 1:
            _put_first(table, listed, place, draw(table, equals, partial(load, snapshot), f"{seed}/{number}"))
    return listed


def draw(table: DeploymentTable, equals: Sequence[int], burden: Callable[[int], float], seed: str) -> int:
    """The less burdened of two, each drawn by weight."""
    first = equals[weighted([table.weight[i] for i in equals], fraction(seed))]
    others = [index for index in equals if index != first]
    second = others[weighted([table.weight[i] for i in others], fraction(f"{seed}/2"))]
    return min((first, second), key=burden)


def load(snapshot: Snapshot, index: int) -> float:
    """How long a call would take there: latency, times the calls under way, over what is left of its limits."""
    expected_ms = snapshot.latency_ms[index] * (1.0 + snapshot.in_flight[index])
    return float(expected_ms / max(snapshot.availability[index], 1e-6))


def parts_of(scores: Scores, index: int) -> list[tuple[str, float, float]]:
    """Name, value and weight of each part of one deployment's score."""
    return [
        (name, float(part[index]), weight)
        for name, part, weight in zip(PARTS, scores.parts, scores.weights, strict=True)
    ]


def _varied(table: DeploymentTable, ranked: list[int], most: int, *, by_keys: bool) -> list[int]:
    """The best `most`, but one thing at one price only so often while there is anything else to fall back on.

    Where there is too little else, more of it follow all others, or with `by_keys` stay where they were ranked.
    """
    if len(ranked) <= most:
        return ranked
    counts: dict[int, int] = {}
    first: list[int] = []
    rest: list[int] = []
    for index in ranked:
        number = table.class_of[index]
        counts[number] = counts.get(number, 0) + 1
        (first if counts[number] <= MOST_EQUAL else rest).append(index)
        if len(first) == most:
            return first
    chosen = first + rest[: most - len(first)]
    return sorted(chosen, key=ranked.index) if by_keys else chosen


def _put_first(table: DeploymentTable, listed: list[int], place: int, winner: int) -> None:
    """Give the winner the first place of its class; the others of the class follow, the last one without a place."""
    if listed[place] == winner:
        return
    number = table.class_of[winner]
    places = [i for i in range(place, len(listed)) if table.class_of[listed[i]] == number]
    members = [listed[i] for i in places]
    members = [winner, *(member for member in members if member != winner)]
    for i, member in zip(places, members, strict=False):
        listed[i] = member


def _keep_order(table: DeploymentTable, ranked: list[int]) -> None:
    places: dict[int, list[int]] = {}
    for place, index in enumerate(ranked):
        places.setdefault(int(table.model_of[index]), []).append(place)
    for taken in places.values():
        if len(taken) > 1:
            members = sorted((ranked[place] for place in taken), key=lambda i: table.deployments[i].order)
            for place, member in zip(taken, members, strict=True):
                ranked[place] = member
