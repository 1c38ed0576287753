"""The evidence that outcomes have taught, as the ledger published it last, as rankings of one table."""

from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.learned import Evidence, LearnedRanking, ranked

_Key = tuple[str, int, bool]


class LearnedEvidence:
    """The latest evidence; its rankings are computed when they are first asked for."""

    def __init__(self) -> None:
        self.evidence = Evidence()
        self._table: DeploymentTable | None = None
        self._rankings: dict[_Key, LearnedRanking] = {}

    def take(self, evidence: Evidence) -> None:
        """Go by other evidence from now on."""
        if evidence.version != self.evidence.version:
            self.evidence = evidence
            self._rankings.clear()

    def acts(self, category: str) -> bool:
        """Whether evidence was shown to be no worse than today's policy in a category."""
        return category in self.evidence.acting

    def ranking(
        self, table: DeploymentTable, category: str, level: int, *, multilingual: bool
    ) -> LearnedRanking:
        """How the deployments of a table rank by it."""
        if table is not self._table:
            self._table = table
            self._rankings.clear()
        key = (category, level, multilingual)
        found = self._rankings.get(key)
        if found is None:
            outcomes = self.evidence.cells.get((category, level), {})
            found = self._rankings[key] = ranked(table, category, outcomes, multilingual=multilingual)
        return found
