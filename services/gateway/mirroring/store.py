"""What was compared, in PostgreSQL: one row for each mirrored request, without a word of either answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.chassis import errors
from services.gateway import postgres
from services.gateway.mirroring.comparison import Compared, Side
from services.gateway.mirroring.grading import Grades
from services.gateway.mirroring.report import METRICS, Group, Sums
from services.gateway.reports.readers import Readers

# For how many days a comparison is kept.
KEPT_DAYS = 90
# How long the sums of a report may take, in seconds.
SLOW_S = 30.0
COLUMNS = (
    "request_id",
    "mirror",
    "of_request_id",
    "plan",
    "operation",
    "category",
    "model",
    "target_model",
    "failure",
    "target_failure",
    "latency_ms",
    "target_latency_ms",
    "first_ms",
    "target_first_ms",
    "cost_nano_usd",
    "target_cost_nano_usd",
    "finish",
    "target_finish",
    "characters",
    "target_characters",
    "refused",
    "target_refused",
    "tools_equal",
    "json_valid",
    "target_json_valid",
    "similarity",
    "grade",
    "target_grade",
)
PLACES = ", ".join(f"${place}" for place in range(2, len(COLUMNS) + 2))
ADD = f"""
INSERT INTO mirrored_requests (expires_at, asked_at, {", ".join(COLUMNS)})
VALUES (now() + make_interval(days => $1), now(), {PLACES})
"""  # noqa: S608
SUMS = f"""
WITH pairs AS (
    SELECT category, model, metric, own, target FROM mirrored_requests CROSS JOIN LATERAL (
        VALUES {", ".join(f"('{one.name}', ({one.own})::float8, ({one.target})::float8)" for one in METRICS)}
    ) AS one (metric, own, target)
    WHERE mirror = $1 AND asked_at >= $2 AND asked_at < $3 AND own IS NOT NULL AND target IS NOT NULL
)
SELECT grouping(category) = 0 AS by_category, grouping(model) = 0 AS by_model, category, model, metric,
    count(*) AS requests, sum(own) AS own, sum(target) AS target, sum(target - own) AS total,
    sum((target - own) * (target - own)) AS squares
FROM pairs GROUP BY GROUPING SETS ((metric), (category, metric), (model, metric))
"""  # noqa: S608  (of the metrics' own columns)
COUNTS = """
SELECT mirror, count(*) AS requests FROM mirrored_requests
WHERE asked_at >= $1 AND asked_at < $2 GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A mirrored request and what came of it on both sides.

    Attributes:
        request_id: The id of the mirrored request.
        mirror: The name of the mirror.
        of_request_id: The id of the request that it repeats.
        plan: Of who asked.
        operation: What was asked for.
        category: Of what was asked.
        own: What its caller got.
        target: What the target gave.
        compared: What both have in common.
        grades: The judge's, where it was asked.

    """

    request_id: str
    mirror: str
    of_request_id: str
    plan: str
    operation: str
    category: str
    own: Side
    target: Side
    compared: Compared
    grades: Grades


class MirrorStore:
    """Writes comparisons.

    Args:
        pool: PostgreSQL.

    """

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool

    async def add(self, pair: Pair) -> None:
        """Keep a comparison.

        Raises:
            postgres.ERRORS, PostgresError: it is not kept.
        """
        own, target, compared = pair.own, pair.target, pair.compared
        async with postgres.connection(self._pool) as connection:
            await connection.execute(
                ADD,
                KEPT_DAYS,
                pair.request_id,
                pair.mirror,
                pair.of_request_id,
                pair.plan,
                pair.operation,
                pair.category,
                own.model,
                target.model,
                own.failure,
                target.failure,
                own.latency_ms,
                target.latency_ms,
                own.first_ms,
                target.first_ms,
                own.cost_nano_usd,
                target.cost_nano_usd,
                *(side.said.finish if side.said else "" for side in (own, target)),
                *(len(side.said.text) if side.said else 0 for side in (own, target)),
                *(side.said.refused if side.said else None for side in (own, target)),
                compared.tools_equal,
                compared.json_valid,
                compared.target_json_valid,
                compared.similarity,
                pair.grades.own,
                pair.grades.target,
            )


class MirrorReports:
    """Reads what was compared, for admins who ask."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def sums(self, mirror: str, since: datetime, until: datetime) -> Sequence[Sums]:
        """The sums of one mirror, of all its requests, by category and by the model that answered the caller.

        Raises:
            Unavailable: the database cannot be read.
            NotFound: nothing was mirrored by it.
        """
        async with self._readers.connection() as connection, connection.transaction(readonly=True):
            await connection.execute(f"SET LOCAL statement_timeout = {SLOW_S * 1000:.0f}")
            rows = await connection.fetch(SUMS, mirror, since, until, timeout=SLOW_S)
        if not rows:
            raise errors.NotFound(
                f"mirror: nothing was mirrored by {mirror[:64]!r} in this time", reason="MIRROR_NOT_FOUND"
            )
        return [
            Sums(
                group=Group.CATEGORY if row["by_category"] else Group.MODEL if row["by_model"] else Group.ALL,
                name=(row["category"] if row["by_category"] else row["model"] if row["by_model"] else "")
                or "",
                metric=row["metric"],
                requests=row["requests"],
                own=row["own"],
                target=row["target"],
                total=row["total"],
                squares=row["squares"],
            )
            for row in rows
        ]

    async def today(self) -> Mapping[str, int]:
        """How many requests each mirror has compared since midnight UTC; none for one that is missing.

        Raises:
            Unavailable: the database cannot be read.
        """
        now = datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        async with self._readers.connection() as connection:
            rows = await connection.fetch(COUNTS, midnight, now)
        return {row["mirror"]: row["requests"] for row in rows}
