"""What the ledger says was spent, for budgets that Redis does not know or has forgotten."""

from collections.abc import Sequence

from services.gateway import postgres

SPENT = """
SELECT subject, period, spent_nano_usd, version FROM budget_spend
WHERE (subject, period) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""


async def read(pool: postgres.Pool, wanted: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """What was spent, as [nano-USD, version] by `subject:period`, for each [subject, period]; nothing yet is [0, 0].

    Raises:
        postgres.ERRORS: PostgreSQL does not answer.
    """
    async with postgres.connection(pool) as connection:
        rows = await connection.fetch(
            SPENT, [subject for subject, _ in wanted], [period for _, period in wanted]
        )
    found = {f"{row['subject']}:{row['period']}": [row["spent_nano_usd"], row["version"]] for row in rows}
    return {f"{subject}:{period}": found.get(f"{subject}:{period}", [0, 0]) for subject, period in wanted}
