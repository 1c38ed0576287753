"""Sums of outcomes by category, plan and day, with intervals, and a sentence that says what they mean."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.chassis.money import usd
from services.gateway.confidence import LEVEL, Z
from services.gateway.replays.answer_lengths import AnswerLengths
from services.gateway.replays.request import Excluded, Outcome

INTERVAL = {
    "level": LEVEL,
    "method": "normal approximation over requests, with the errors of estimated answer lengths",
}
# Differences in mean expected quality below this say nothing.
LEAST_QUALITY = 0.005


@dataclass(slots=True)
class Sums:
    """What a group of requests comes to."""

    requests: int = 0
    moved: int = 0
    estimated: int = 0
    then: int = 0
    now: int = 0
    # Of the differences, for their variance over requests.
    squares: float = 0.0
    # The estimated part by the pair of models that it rests on, and the sum of its squared deviations.
    by_pair: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    noise: float = 0.0
    powerful: list[int] = field(default_factory=lambda: [0, 0])
    models: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    judged: int = 0
    quality: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, one: Outcome, lengths: AnswerLengths) -> None:
        """Count an outcome."""
        self.requests += 1
        self.moved += one.moved
        self.then += one.then
        self.now += one.now
        self.squares += float(one.now - one.then) ** 2
        if one.pair is not None:
            self.estimated += 1
            self.by_pair[one.pair] += one.estimated
            self.noise += (one.estimated * lengths.spread(*one.pair)) ** 2
        for place, (powerful, model) in enumerate(
            ((one.request.powerful, one.request.last.model), (one.powerful, one.model))
        ):
            self.powerful[place] += powerful
            self.models[place][model] += 1
        if one.quality is not None:
            self.judged += 1
            for place, quality in enumerate(one.quality):
                self.quality[place] += quality

    def margin(self, lengths: AnswerLengths) -> float:
        """Half the width of the interval of the difference, in nano-USD."""
        if not self.requests:
            return 0.0
        mean = (self.now - self.then) / self.requests
        over_requests = max(0.0, self.squares - self.requests * mean * mean)
        over_requests *= self.requests / max(1, self.requests - 1)
        of_ratios = sum((cost * lengths.deviation(*pair)) ** 2 for pair, cost in self.by_pair.items())
        return Z * math.sqrt(over_requests + of_ratios + self.noise)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a replay found."""

    total: Sums
    groups: Mapping[str, Mapping[str, Sums]]
    excluded: Mapping[Excluded, int]
    lengths: AnswerLengths

    def shown(self) -> dict[str, Any]:
        """As JSON: money in US dollars and, exactly, in nano-USD."""
        falls = [
            name
            for name, sums in self.groups["category"].items()
            if sums.judged and (sums.quality[1] - sums.quality[0]) / sums.judged < -LEAST_QUALITY
        ]
        return {
            "total": self._shown(self.total),
            "by": {
                name: [{name: key, **self._shown(sums)} for key, sums in sorted(group.items())]
                for name, group in self.groups.items()
            },
            "interval": INTERVAL,
            "quality_falls_in": falls,
            "not_replayed": [
                {"reason": str(reason), "requests": count} for reason, count in sorted(self.excluded.items())
            ],
            "sentence": self._sentence(falls),
        }

    def _shown(self, sums: Sums) -> dict[str, Any]:
        difference, margin = sums.now - sums.then, sums.margin(self.lengths)
        count = sums.requests or 1
        return {
            "requests": sums.requests,
            "answered_by_another_model": sums.moved,
            "estimated": sums.estimated,
            "then_usd": usd(sums.then),
            "then_nano_usd": sums.then,
            "now_usd": usd(sums.now),
            "now_nano_usd": sums.now,
            "difference_usd": usd(difference),
            "difference_low_usd": usd(difference - margin),
            "difference_high_usd": usd(difference + margin),
            "powerful_share_then": round(sums.powerful[0] / count, 4),
            "powerful_share_now": round(sums.powerful[1] / count, 4),
            "models_then": _shares(sums.models[0]),
            "models_now": _shares(sums.models[1]),
            "quality_then": round(sums.quality[0] / sums.judged, 4) if sums.judged else None,
            "quality_now": round(sums.quality[1] / sums.judged, 4) if sums.judged else None,
        }

    def _sentence(self, falls: list[str]) -> str:
        total, left_out = self.total, sum(self.excluded.values())
        if not total.requests:
            return f"No request could be replayed; {left_out} were left out."
        difference, margin = total.now - total.then, total.margin(self.lengths)
        share = f" ({abs(difference) / total.then:.1%})" if total.then else ""
        cost = (
            f"{total.requests} requests that cost {usd(total.then):.6f} USD would have cost {usd(total.now):.6f} USD: "
            f"{usd(abs(difference)):.6f} USD{share} {'less' if difference <= 0 else 'more'}, with an interval of the "
            f"difference from {usd(difference - margin):.6f} to {usd(difference + margin):.6f} USD. "
        )
        if not difference and not margin:
            cost = f"{total.requests} requests would have cost what they cost, {usd(total.then):.6f} USD. "
        moved = f"Another model would have answered {total.moved / total.requests:.1%} of them"
        quality = f"; expected quality falls in {', '.join(falls)}" if falls else ""
        unsaid = f". {left_out} more requests could not be replayed" if left_out else ""
        return f"{cost}{moved}{quality}{unsaid}."


def compared(
    outcomes: Iterable[Outcome], excluded: Mapping[Excluded, int], lengths: AnswerLengths
) -> Comparison:
    """Add outcomes up."""
    total = Sums()
    groups: dict[str, dict[str, Sums]] = {name: defaultdict(Sums) for name in ("category", "plan", "day")}
    for one in outcomes:
        request = one.request
        keys = {"category": request.category or "none", "plan": request.plan, "day": request.day.isoformat()}
        for sums in (total, *(groups[name][key] for name, key in keys.items())):
            sums.add(one, lengths)
    return Comparison(total, groups, excluded, lengths)


def _shares(models: Counter[str]) -> dict[str, float]:
    count = models.total() or 1
    return {model: round(number / count, 4) for model, number in models.most_common()}
