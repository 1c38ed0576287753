"""What outcomes have taught, for people."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from services.gateway.learning import comparison, evidence, outcomes
from services.gateway.reports.readers import Readers


class LearningReports:
    """Reads it.

    Args:
        readers: Of the ledger.

    """

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def report(self) -> dict[str, Any]:
        """The outcomes of each model by category and level, and how the two policies compare in each category.

        Raises:
            Unavailable: the database does not answer.
        """
        today = datetime.now(UTC).date()
        async with self._readers.connection() as connection:
            days, compared = await outcomes.sums(connection, today)
        return {
            "outcomes": [asdict(one) for one in evidence.outcomes(days, today)],
            "comparisons": [
                {**asdict(one), "may_act": one.acts} for one in comparison.estimates(compared, today)
            ],
        }
