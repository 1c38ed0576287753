"""The times of which admins and users ask for usage, savings and replays."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.chassis import errors

LONGEST = timedelta(days=400)
# No usage is outside of these, and dates further out cannot be reckoned with.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `since` up to `until`, which is excluded."""

    since: datetime
    until: datetime

    def check(self, longest: timedelta) -> None:
        """Refuse a range that is longer, empty or backwards.

        Raises:
            Invalid: it is.
        """
        if not timedelta() < self.until - self.since <= longest:
            raise errors.Invalid(
                f"from, to: expected at most {longest.days} days, and from before to", param="from"
            )


def time_range(since: datetime | None, until: datetime | None) -> TimeRange:
    """A checked range; without dates it is the last 30 days.

    Raises:
        Invalid: dates that make no sense.
    """
    until = dated("to", until or datetime.now(UTC) + timedelta(hours=1))
    since = dated("from", since or until - timedelta(days=30))
    found = TimeRange(since, until)
    found.check(LONGEST)
    return found


def dated(name: str, moment: datetime) -> datetime:
    """A moment that can be reckoned with and stored; one without a zone is in UTC.

    Raises:
        Invalid: it is too far out.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not EARLIEST <= aware <= LATEST:
        raise errors.Invalid(f"{name}: expected a date from {EARLIEST.year} to {LATEST.year}", param=name)
    return aware
