"""What the requests of an experiment were like, by variant: sums over the ledger, from which everything follows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from services.chassis.money import NANO
from services.gateway import postgres
from services.gateway.experiments import conclusion, definition, statistics
from services.gateway.experiments.conclusion import (
    CACHED,
    COST,
    ERRORS,
    FEEDBACK,
    LATENCY,
    METRICS,
    SLOW,
    Measured,
)
from services.gateway.experiments.definition import Definition
from services.gateway.experiments.statistics import Interval, Moments
from services.gateway.reports.readers import Readers

# How long the sums may take, in seconds.
SLOW_S = 30.0
# What a request's column of the statement below is multiplied by, for the unit of its metric.
SCALES: Mapping[str, float] = {
    COST.name: 1 / NANO,
    LATENCY.name: 1,
    ERRORS.name: 1,
    FEEDBACK.name: 1,
    CACHED.name: 1,
    SLOW.name: 1,
}
# Why a request is refused whatever variant it has: the limits and budgets are its caller's. One who does not wait asks
# again and again, which would outweigh all others.
CALLERS_OWN = ("RATE_LIMIT_EXCEEDED", "INSUFFICIENT_QUOTA", "LIMITS_UNAVAILABLE")
# A request's attempts first, then a unit's requests, then the sums of both. Feedback is of those requests that got any;
# attempts without a price count as free. A request has failed unless one of its attempts gave a whole answer: one that
# timed out is partial, as it may be billed, even where nothing came of it. One that its caller left
# is no failure. One that was refused has failed, and nothing else is known of it: it has no attempt.
MEASURE = f"""
WITH requests AS (
    SELECT variant, experiment_unit AS unit, request_id,
        coalesce(sum(cost_nano_usd), 0)::float8 AS {COST.name},
        sum(duration_ms) AS {LATENCY.name},
        (NOT bool_or(kind IN ('final', 'cached') OR error_class = 'cancelled'))::int::float8
            AS {ERRORS.name},
        bool_or(kind = 'cached')::int::float8 AS {CACHED.name},
        (sum(duration_ms) > $3::float8)::int::float8 AS {SLOW.name}
    FROM usage_records
    WHERE experiment_id = $1 AND experiment_unit IS NOT NULL AND kind <> 'unknown'
        AND ($4::timestamptz IS NULL OR started_at >= $4)
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT variant, experiment_unit, request_id, NULL, NULL, 1, NULL, NULL
    FROM model_selections
    WHERE experiment_id = $1 AND experiment_id <> '' AND experiment_unit IS NOT NULL
        AND refusal <> '' AND refusal <> ALL($2::text[])
        AND ($4::timestamptz IS NULL OR decided_at >= $4)
), judged AS (
    SELECT requests.*, feedback.value::float8 AS {FEEDBACK.name}
    FROM requests LEFT JOIN feedback USING (request_id)
), long AS (
    SELECT variant, unit, metric, number FROM judged CROSS JOIN LATERAL (
        VALUES {", ".join(f"('{name}', {name})" for name in METRICS)}
    ) AS one (metric, number)
    WHERE number IS NOT NULL
), units AS (
    SELECT variant, metric, unit, count(*)::float8 AS n, sum(number) AS s, sum(number * number) AS q
    FROM long GROUP BY 1, 2, 3
)
SELECT variant, metric, count(*) AS units, sum(n)::bigint AS requests, sum(s) AS total, sum(q) AS squares,
    sum(n * n) AS unit_counts, sum(s * s) AS unit_totals, sum(n * s) AS unit_products
FROM units GROUP BY 1, 2
"""  # noqa: S608


async def measured(
    connection: postgres.Connection,
    experiment_id: str,
    described: Definition,
    since: datetime | None = None,
) -> Measured:
    """The moments of each metric in each variant, of requests that began since a moment."""
    slow_ms = described.guardrails.latency_p90_ms
    found = {name: dict.fromkeys(METRICS, Moments()) for name in described.names}
    async with connection.transaction(readonly=True):
        # The pool's own deadline is that of calls that others wait for.
        await connection.execute(f"SET LOCAL statement_timeout = {SLOW_S * 1000:.0f}")
        rows = await connection.fetch(MEASURE, experiment_id, CALLERS_OWN, slow_ms, since, timeout=SLOW_S)
    for row in rows:
        if row["variant"] in found:
            found[row["variant"]][row["metric"]] = _moments(row, SCALES[row["metric"]])
    return found


class ExperimentResults:
    """What has been learnt, for admins who ask."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The results of an experiment of the store.

        Raises:
            Unavailable: the ledger cannot be read.
        """
        described = definition.parse(row["definition"])
        async with self._readers.connection() as connection:
            moments = await measured(connection, row["experiment_id"], described)
        return shown(described, moments)


def shown(described: Definition, moments: Measured) -> dict[str, Any]:
    """What a person reads: each variant with its metrics, and what may be concluded."""
    rules = described.guardrails
    found = conclusion.findings(described.names, moments, rules)
    concluded = conclusion.concluded(described.names, METRICS[described.goal], moments, rules)
    return {
        "goal": described.goal,
        "control": described.names[0],
        "variants": [
            {
                "name": name,
                "requests": moments[name][ERRORS.name].requests,
                "units": moments[name][ERRORS.name].units,
                **{
                    metric: {
                        "requests": moments[name][metric].requests,
                        "mean": one.mean if moments[name][metric].requests else None,
                        "interval": _interval(one.interval),
                        "difference": _interval(one.difference),
                    }
                    for metric, one in findings.items()
                },
            }
            for name, findings in found.items()
        ],
        "level": 1 - conclusion.level(len(described.names), rules),
        "least": {"requests": statistics.LEAST_REQUESTS, "units": statistics.LEAST_UNITS},
        "winner": concluded.winner or None,
        "conclusion": concluded.sentence,
    }


def _moments(row: asyncpg.Record, scale: float) -> Moments:
    return Moments(
        units=row["units"],
        requests=row["requests"],
        total=row["total"] * scale,
        squares=row["squares"] * scale**2,
        unit_counts=row["unit_counts"],
        unit_totals=row["unit_totals"] * scale**2,
        unit_products=row["unit_products"] * scale,
    )


def _interval(one: Interval | None) -> list[float] | None:
    return None if one is None else [one.low, one.high]
