"""The periods that pages show: whole hours or days up to now, so that their sums are those of the ledger's hours."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time that ends now."""

    name: str
    title: str
    # The bars of its charts: so many of such a length, the last of which is not over.
    steps: int
    step: timedelta

    @property
    def group(self) -> str:
        """How usage is grouped for its charts."""
        return "hour" if self.step == HOUR else "day"

    def starts(self, now: datetime) -> list[datetime]:
        """When each of its steps begins."""
        last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if self.step == DAY:
            last = last.replace(hour=0)
        return [last - self.step * back for back in range(self.steps - 1, -1, -1)]

    def key(self, start: datetime) -> str:
        """The name that a step has in usage that is grouped."""
        return f"{start:%Y-%m-%d %H:00}" if self.step == HOUR else f"{start:%Y-%m-%d}"

    def label(self, start: datetime) -> str:
        """The name that a step has in a chart."""
        return f"{start:%H:%M}" if self.step == HOUR else f"{start:%d %b}"


PERIODS = {
    one.name: one
    for one in (
        Period("6h", "6 hours", 6, HOUR),
        Period("24h", "24 hours", 24, HOUR),
        Period("7d", "7 days", 7, DAY),
        Period("30d", "30 days", 30, DAY),
    )
}
DEFAULT = PERIODS["24h"]


def period(name: str) -> Period:
    """The period of a name; the usual one where there is none of it."""
    return PERIODS.get(name, DEFAULT)
