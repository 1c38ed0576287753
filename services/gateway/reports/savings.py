"""What routing saved against each way to do without it: at list price for the same tokens, by category and in all."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from services.chassis.candidates import UNPINNED
from services.chassis.money import usd
from services.gateway.reports.readers import Readers
from services.gateway.reports.time_range import TimeRange
from services.gateway.reports.usage import ANSWERED, LIST_PRICE, OF_CALLERS, OF_TOKENS, PRICED, SAVING_ROWS

# By counterfactual: the model whose list prices a selection has, and which selections count beside. Prices of the first
# candidate are kept where it is the pinned model.
COUNTERFACTUALS: Mapping[str, tuple[str, str]] = {
    "all_powerful": ("baseline", "true"),
    "all_fast": ("cheapest", "true"),
    "pinned": ("chosen", "NOT s.requested_model = ANY($3)"),
}
COSTS = """
SELECT r.category, s.{model}_model AS model, count(*) AS requests, sum({cost})::bigint AS cost,
       sum({price})::bigint AS counterfactual, sum(r.cached_tokens)::bigint AS cached
FROM usage_records r JOIN model_selections s USING (request_id)
WHERE {rows} AND {priced} AND {selections} AND $3::text[] IS NOT NULL AND r.started_at >= $1 AND r.started_at < $2
GROUP BY 1, 2
"""
VERDICTS = """
SELECT r.category, r.model, count(*) AS verdicts, avg(f.value)::float8 AS mean
FROM feedback f JOIN usage_records r USING (request_id)
WHERE r.kind = 'final' AND r.started_at >= $1 AND r.started_at < $2 GROUP BY 1, 2
"""
ALL = f"""
SELECT coalesce(sum(r.cost_nano_usd), 0)::bigint AS ledger, coalesce(sum(r.saved_nano_usd), 0)::bigint AS cached,
       count(*) FILTER (WHERE r.kind <> 'failed' AND r.cost_nano_usd IS NULL) AS unpriced,
       coalesce(sum(r.cost_nano_usd) FILTER (WHERE {ANSWERED}), 0)::bigint AS answered,
       coalesce(sum(r.fees_nano_usd) FILTER (WHERE {SAVING_ROWS}), 0)::bigint AS fees,
       count(*) FILTER (WHERE {ANSWERED} AND NOT ({SAVING_ROWS})) AS without_tokens,
       coalesce(sum(r.cost_nano_usd) FILTER (WHERE {ANSWERED} AND NOT ({SAVING_ROWS})), 0)::bigint AS by_unit
FROM usage_records r WHERE {OF_CALLERS} AND r.started_at >= $1 AND r.started_at < $2
"""  # noqa: S608  (of the constant above)
# Fewer verdicts on a model in a category measure nothing.
LEAST_VERDICTS = 10


@dataclass(slots=True)
class Against:
    """Requests that have a counterfactual: what they cost, what it would have cost, and its quality where measured."""

    requests: int = 0
    cost: int = 0
    counterfactual: int = 0
    # Prompt tokens that a provider billed less for, as it had them; the list price knows no such discount.
    cached: int = 0
    # Requests whose counterfactual model was judged in their category, and the sum of its mean verdicts.
    judged: int = 0
    verdicts: float = 0.0
    models: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: asyncpg.Record, verdict: float | None) -> None:
        """Count a category's requests with one counterfactual model."""
        self.requests += row["requests"]
        self.cost += row["cost"]
        self.counterfactual += row["counterfactual"]
        self.cached += row["cached"]
        self.models[row["model"]] += row["requests"]
        if verdict is not None:
            self.judged += row["requests"]
            self.verdicts += verdict * row["requests"]

    def shown(self) -> dict[str, Any]:
        """As JSON: money in US dollars and, exactly, in nano-USD."""
        saved = self.counterfactual - self.cost
        return {
            "requests": self.requests,
            "cost_usd": usd(self.cost),
            "cost_nano_usd": self.cost,
            "counterfactual_usd": usd(self.counterfactual),
            "counterfactual_nano_usd": self.counterfactual,
            "cached_tokens": self.cached,
            "saved_usd": usd(saved),
            "saved_nano_usd": saved,
            "saved_share": round(saved / self.counterfactual, 4) if self.counterfactual else None,
            "models": dict(sorted(self.models.items(), key=lambda one: (-one[1], one[0]))),
            # The mean verdict of users, -10 to 10, of the counterfactual models; null is not known.
            "quality": round(self.verdicts / self.judged, 2) if self.judged else None,
            "quality_known_for": round(self.judged / self.requests, 4) if self.requests else 0.0,
        }


class SavingsReports:
    """Reads the ledger's tables."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def report(self, times: TimeRange) -> dict[str, Any]:
        """What was saved from `since` up to `until`.

        Raises:
            Unavailable: the database does not answer.
        """
        within = (times.since, times.until)
        async with self._readers.connection() as connection:
            verdicts = await connection.fetch(VERDICTS, *within)
            costs = {
                name: await connection.fetch(
                    COSTS.format(
                        model=model,
                        price=LIST_PRICE.format(model=model),
                        cost=OF_TOKENS,
                        rows=f"{OF_CALLERS} AND {SAVING_ROWS}",
                        priced=PRICED.format(model=model),
                        selections=selections,
                    ),
                    *within,
                    list(UNPINNED),
                )
                for name, (model, selections) in COUNTERFACTUALS.items()
            }
            totals = await connection.fetchrow(ALL, *within)
        assert totals is not None
        judged = {
            (row["category"], row["model"]): row["mean"]
            for row in verdicts
            if row["verdicts"] >= LEAST_VERDICTS
        }
        return {
            "object": "savings",
            "from": times.since,
            "to": times.until,
            "against": {name: _against(rows, judged) for name, rows in costs.items()},
            "measured_quality": _measured(verdicts),
            "cache_saved_usd": usd(totals["cached"]),
            "cache_saved_nano_usd": totals["cached"],
            "ledger_usd": usd(totals["ledger"]),
            "ledger_nano_usd": totals["ledger"],
            # Cut streams and attempts whose end got lost: their cost is a bound, and their tokens say nothing.
            "without_answer_nano_usd": totals["ledger"] - totals["answered"],
            # What answers with tokens cost beside them: searches of the web, fees for a request.
            "fees_nano_usd": totals["fees"],
            # Answers that are billed by picture, character or second, which have no tokens to compare.
            "without_tokens": totals["without_tokens"],
            "without_tokens_nano_usd": totals["by_unit"],
            "unpriced": totals["unpriced"],
        }


def _against(rows: Sequence[asyncpg.Record], judged: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    total, by_category = Against(), defaultdict[str, Against](Against)
    for row in rows:
        verdict = judged.get((row["category"], row["model"]))
        for sums in (total, by_category[row["category"] or "none"]):
            sums.add(row, verdict)
    return {
        "total": total.shown(),
        "by_category": [{"category": name, **sums.shown()} for name, sums in sorted(by_category.items())],
    }


def _measured(verdicts: Sequence[asyncpg.Record]) -> dict[str, Any]:
    """The mean verdict on the answers that were given, by category; a category that is missing is not known."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for row in verdicts:
        one = sums[row["category"] or "none"]
        one[0] += row["verdicts"]
        one[1] += row["verdicts"] * row["mean"]
    return {
        name: {"verdicts": int(count), "mean": round(total / count, 2)}
        for name, (count, total) in sorted(sums.items())
        if count >= LEAST_VERDICTS
    }
