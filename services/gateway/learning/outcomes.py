"""The outcomes of a day out of the ledger, and the tables of their sums.

An outcome is, of an answer that the first model gave whole:

* its user's verdict, by the weight that this has;
* else, what a judge makes of it, where the operator has answers judged: good from a half on, and it counts a half;
* else, that the same conversation was asked again by the same caller within ten minutes after the answer had come: that
  is bad, and counts a quarter;
* else, that the conversation went on within an hour: that is good, and counts as much. Without it, a model would look
  the worse the more it answered.

Anything else is none: silence is no praise, and a text that a caller sends more than a few times a day is an
application's template.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from services.gateway import postgres
from services.gateway.learning import comparison, evidence
from services.gateway.learning.sums import Choice, Outcome, summed

# What a judge's opinion, and going on or asking again, count beside a user's verdict.
JUDGED_WEIGHT = 0.5
IMPLICIT_WEIGHT = 0.25
AGAIN_S = 600.0
ON_S = 3600.0
# A text that is sent more often in a day by one caller is a template.
MOST_REPEATS = 3
# How long the statement for one day may take, in seconds.
SLOW_S = 60.0
# Of all ledgers, one sums at a time.
LOCK = 0x6C65_6172_6E

OUTCOMES = """
WITH asked AS (
    SELECT key_id, user_id, turn, previous_turn, decided_at,
           count(*) OVER (PARTITION BY key_id, user_id, turn) AS repeats
    FROM learning_choices
    WHERE decided_at >= $1::timestamptz AND decided_at < $2::timestamptz + make_interval(secs => $4::float8)
), answered AS (
    SELECT DISTINCT ON (c.request_id) c.*,
           u.started_at + make_interval(secs => u.duration_ms / 1000) AS ended_at
    FROM learning_choices c
    JOIN usage_records u ON u.request_id = c.request_id AND u.kind = 'final' AND u.model = c.model
    WHERE c.decided_at >= $1::timestamptz AND c.decided_at < $2::timestamptz
      AND u.started_at >= $1::timestamptz AND u.started_at < $2::timestamptz + interval '1 day'
    ORDER BY c.request_id, u.started_at
), repeated AS (
    SELECT DISTINCT a.request_id FROM answered a
    JOIN asked l ON l.key_id = a.key_id AND l.user_id = a.user_id AND l.turn = a.turn
    WHERE l.decided_at >= a.ended_at AND l.decided_at < a.ended_at + make_interval(secs => $3::float8)
      AND l.repeats <= $5::int
), continued AS (
    SELECT DISTINCT a.request_id FROM answered a
    JOIN asked l ON l.key_id = a.key_id AND l.user_id = a.user_id AND l.previous_turn = a.turn
    WHERE l.decided_at >= a.ended_at AND l.decided_at < a.ended_at + make_interval(secs => $4::float8)
)
SELECT a.*, coalesce(nullif(a.user_id, ''), a.key_id) AS unit,
       CASE WHEN f.value <> 0 THEN f.value > 0 WHEN j.share IS NOT NULL THEN j.share >= 0.5
            ELSE r.request_id IS NULL END AS good,
       CASE WHEN f.value <> 0 THEN f.weight WHEN j.share IS NOT NULL THEN $7::float8 ELSE $6::float8 END AS weight
FROM answered a
LEFT JOIN feedback f ON f.request_id = a.request_id
LEFT JOIN judgements j ON j.request_id = a.request_id
LEFT JOIN repeated r ON r.request_id = a.request_id
LEFT JOIN continued o ON o.request_id = a.request_id
WHERE coalesce(f.value, 0) <> 0 OR j.share IS NOT NULL OR r.request_id IS NOT NULL OR o.request_id IS NOT NULL
"""
# The days whose sums may have changed since a moment: what was asked since the day before, as a conversation may go on
# for an hour and rows may be late, and what was judged since.
CHANGED = """
SELECT DISTINCT (decided_at AT TIME ZONE 'UTC')::date AS day FROM learning_choices WHERE decided_at >= $1::timestamptz
UNION SELECT DISTINCT (asked_at AT TIME ZONE 'UTC')::date FROM feedback WHERE given_at >= $2::timestamptz
UNION SELECT DISTINCT (asked_at AT TIME ZONE 'UTC')::date FROM judgements WHERE judged_at >= $2::timestamptz
UNION SELECT DISTINCT day FROM learning_days WHERE day < $3::date
ORDER BY day
"""
DAYS = "SELECT day, category, level, model, liked, counted, good, weight FROM learning_days WHERE day >= $1"
COMPARISONS = """
SELECT day, category, counted, weight, difference, weight_squares, difference_squares, products
FROM learning_comparisons WHERE day >= $1
"""


async def changed_days(
    connection: postgres.Connection, since: datetime | None, today: date
) -> Sequence[date]:
    """The days whose sums may have changed since a moment, or may ever have; those that count no more among them."""
    oldest = today - timedelta(days=evidence.WINDOW_DAYS)
    begin = datetime.combine(oldest, time(), UTC)
    asked, given = (begin, begin) if since is None else (since - timedelta(days=1), since)
    rows = await connection.fetch(CHANGED, asked, given, oldest, timeout=SLOW_S)
    return [row["day"] for row in rows]


async def sum_day(connection: postgres.Connection, day: date, today: date) -> None:
    """Replace the sums of a day by those of what the ledger has; of a day that counts no more, by none."""
    begin = datetime.combine(day, time(), UTC)
    days: list[evidence.Day] = []
    compared: list[comparison.Day] = []
    if evidence.faded(day, today):
        days, compared = summed(day, await _outcomes(connection, begin))
    async with connection.transaction():
        await connection.execute("DELETE FROM learning_days WHERE day = $1", day)
        await connection.execute("DELETE FROM learning_comparisons WHERE day = $1", day)
        await connection.executemany(
            "INSERT INTO learning_days VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            [
                (one.day, one.category, one.level, one.model, one.liked, one.counted, one.good, one.weight)
                for one in days
            ],
        )
        await connection.executemany(
            "INSERT INTO learning_comparisons VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            [
                (
                    one.day,
                    one.category,
                    one.counted,
                    one.weight,
                    one.difference,
                    one.weight_squares,
                    one.difference_squares,
                    one.products,
                )
                for one in compared
            ],
        )


async def sums(
    connection: postgres.Connection, today: date
) -> tuple[list[evidence.Day], list[comparison.Day]]:
    """The sums of all days that count."""
    oldest = today - timedelta(days=evidence.WINDOW_DAYS)
    days = await connection.fetch(DAYS, oldest)
    compared = await connection.fetch(COMPARISONS, oldest)
    return [evidence.Day(**row) for row in days], [comparison.Day(**row) for row in compared]


async def _outcomes(connection: postgres.Connection, begin: datetime) -> list[Outcome]:
    rows = await connection.fetch(
        OUTCOMES,
        begin,
        begin + timedelta(days=1),
        AGAIN_S,
        ON_S,
        MOST_REPEATS,
        IMPLICIT_WEIGHT,
        JUDGED_WEIGHT,
        timeout=SLOW_S,
    )
    return [
        Outcome(
            unit=row["unit"],
            category=row["category"],
            level=row["level"],
            chosen=Choice(row["model"], row["probability"], row["quality"]),
            current=Choice(row["current_model"], row["current_probability"], row["current_quality"]),
            learned=Choice(row["learned_model"], row["learned_probability"], row["learned_quality"]),
            good=row["good"],
            weight=row["weight"],
        )
        for row in rows
    ]
