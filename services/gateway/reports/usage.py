"""What was used and what it cost, from the ledger's tables."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.chassis import errors
from services.chassis.money import usd
from services.gateway.config.budgets import Period, token
from services.gateway.keys.permissions import MIRROR
from services.gateway.reports.readers import Readers
from services.gateway.reports.time_range import time_range

# What usage can be grouped by, and where that is written.
GROUPS: Mapping[str, str] = {
    "day": "to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "hour": "to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:00')",
    "model": "model",
    "provider": "provider",
    "category": "category",
    "tier": "tier",
    "plan": "plan",
    "kind": "kind",
    "key": "key_id",
    "user": "user_id",
    "organization": "organization_id",
}
FILTERS: Mapping[str, str] = {
    "user_id": "user_id",
    "key_id": "key_id",
    "organization_id": "organization_id",
    "plan": "plan",
    "model": "model",
}
# A request has one key, plan and task, but each of its attempts may be another model's.
OF_AN_ATTEMPT = frozenset(("model", "provider", "kind"))
# Savings: what the tokens of an answer cost at the list prices of a model of its selection, rounded once; what they did
# cost, without what is billed beside tokens and would be all the same; and the attempts whose tokens and cost are
# known. Speech, transcriptions and most pictures have no tokens.
LIST_PRICE = (
    "round((r.prompt_tokens::numeric * s.{model}_input_nano_usd_per_mtok "
    "+ r.completion_tokens::numeric * s.{model}_output_nano_usd_per_mtok) / 1000000)"
)
OF_TOKENS = "(r.cost_nano_usd - coalesce(r.fees_nano_usd, 0))"
ANSWERED = "r.kind = 'final' AND r.cost_nano_usd IS NOT NULL"
SAVING_ROWS = f"{ANSWERED} AND r.prompt_tokens + r.completion_tokens > 0"
# What mirrors ask again was no choice of routing.
OF_CALLERS = f"r.key_id NOT LIKE '{MIRROR}%'"
# Whether the list prices of such a model are known.
PRICED = "s.{model}_model <> '' AND s.{model}_input_nano_usd_per_mtok IS NOT NULL"
MOST_ROWS = 10_000
COLUMNS = (
    "requests",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "web_searches",
    "cost_usd",
    "unpriced",
    "cache_saved_usd",
    "cost_per_request_usd",
    "mean_latency_ms",
)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which usage is wanted: from `since` up to `until`, which is excluded."""

    since: datetime
    until: datetime
    group_by: tuple[str, ...] = ()
    only: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Savings:
    """What requests cost, and what they would have cost at the most powerful model that was permitted for each."""

    requests: int
    cost_nano_usd: int
    most_powerful_nano_usd: int

    @property
    def saved_nano_usd(self) -> int:
        """The difference; negative where the choice was dearer."""
        return self.most_powerful_nano_usd - self.cost_nano_usd

    @property
    def share(self) -> float | None:
        """What part of the higher cost was saved; None where there was none."""
        whole = self.most_powerful_nano_usd
        return round(self.saved_nano_usd / whole, 4) if whole else None


def query(
    *, since: datetime | None, until: datetime | None, group_by: str, only: Mapping[str, str | None]
) -> UsageQuery:
    """A checked query; without dates it is the last 30 days.

    Raises:
        Invalid: an unknown grouping, or dates that make no sense.
    """
    times = time_range(since, until)
    groups = tuple(word.strip() for word in group_by.split(",") if word.strip())
    for group in groups:
        if group not in GROUPS:
            raise errors.Invalid(
                f"group_by: {group[:40]!r} is not known; expected some of {', '.join(GROUPS)}",
                param="group_by",
            )
    return UsageQuery(
        times.since, times.until, groups, tuple((name, value) for name, value in only.items() if value)
    )


class UsageReports:
    """Reads the ledger's tables."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def rows(self, wanted: UsageQuery) -> list[dict[str, Any]]:
        """Sums for each group, the most expensive first; by day and hour in their order.

        Grouped or filtered by model, provider or kind, a request counts once for each attempt.

        Raises:
            Unavailable: the database does not answer.
        """
        groups = [f"{GROUPS[name]} AS {name}" for name in wanted.group_by]
        where, values = _where(wanted, "hour")
        positions = ", ".join(str(i) for i in range(1, len(groups) + 1))
        timed = [i for i, name in enumerate(wanted.group_by, 1) if name in ("day", "hour")]
        order = ", ".join(
            [*(str(i) for i in timed), "cost_nano_usd DESC", *positions.split(", ")] if groups else ["1"]
        )
        by_attempt = OF_AN_ATTEMPT & {*wanted.group_by, *(name for name, _ in wanted.only)}
        counted = "attempts" if by_attempt else "requests"
        async with self._readers.connection() as connection:
            found = await connection.fetch(
                f"SELECT {', '.join([*groups, ''])} sum({counted})::bigint AS requests, "  # noqa: S608
                "sum(attempts)::bigint AS attempts, "
                "sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens, "
                "sum(cached_tokens)::bigint AS cached_tokens, sum(cost_nano_usd)::bigint AS cost_nano_usd, "
                "sum(unpriced)::bigint AS unpriced, sum(web_searches)::bigint AS web_searches, "
                "sum(saved_nano_usd)::bigint AS saved_nano_usd, "
                f"sum(duration_ms) AS duration_ms FROM usage_metrics WHERE {where} "
                + (f"GROUP BY {positions} " if groups else "")
                + f"ORDER BY {order} LIMIT {MOST_ROWS}",
                *values,
            )
        return [_shown(dict(row), wanted.group_by) for row in found]

    async def savings(self, wanted: UsageQuery) -> Savings:
        """What the same tokens would have cost at the most powerful model that was permitted for each request.

        Raises:
            Unavailable: the database does not answer.
        """
        where, values = _where(wanted, "r.started_at", "r.")
        async with self._readers.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT count(*) AS requests, coalesce(sum({OF_TOKENS}), 0)::bigint AS cost, "  # noqa: S608
                f"coalesce(sum({LIST_PRICE.format(model='baseline')}), 0)::bigint AS baseline "
                "FROM usage_records r JOIN model_selections s USING (request_id) "
                f"WHERE {OF_CALLERS} AND {SAVING_ROWS} AND {PRICED.format(model='baseline')} AND {where}",
                *values,
            )
        assert row is not None
        return Savings(row["requests"], row["cost"], row["baseline"])

    async def spent(self, subjects: Sequence[str]) -> dict[str, dict[str, int]]:
        """What subjects spent in the current periods, in nano-USD, as far as the ledger has been written.

        Raises:
            Unavailable: the database does not answer.
        """
        now = datetime.now(UTC)
        current = {token(period, now): str(period) for period in Period}
        async with self._readers.connection() as connection:
            rows = await connection.fetch(
                "SELECT subject, period, spent_nano_usd FROM budget_spend "
                "WHERE subject = ANY($1::text[]) AND period = ANY($2::text[])",
                subjects,
                list(current),
            )
        found = {subject: dict.fromkeys(map(str, Period), 0) for subject in subjects}
        for row in rows:
            found[row["subject"]][current[row["period"]]] = row["spent_nano_usd"]
        return found


def as_csv(rows: Sequence[Mapping[str, Any]], group_by: Sequence[str]) -> str:
    """Rows as a table with a header; a cell that a spreadsheet would run as a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*group_by, *COLUMNS])
    for row in rows:
        cells = [row[name] for name in (*group_by, *COLUMNS)]
        writer.writerow(
            ["'" + cell if isinstance(cell, str) and cell[:1] in "=+-@" and cell else cell for cell in cells]
        )
    return out.getvalue()


def _where(wanted: UsageQuery, moment: str, prefix: str = "") -> tuple[str, list[Any]]:
    values: list[Any] = [wanted.since, wanted.until]
    conditions = [f"{moment} >= $1", f"{moment} < $2"]
    for name, value in wanted.only:
        values.append(value)
        conditions.append(f"{prefix}{FILTERS[name]} = ${len(values)}")
    return " AND ".join(conditions), values


def _shown(row: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    requests, attempts, unpriced = row["requests"] or 0, row["attempts"] or 0, row["unpriced"] or 0
    # A sum says nothing where nobody knows the price of any attempt.
    cost = None if unpriced and unpriced == attempts else row["cost_nano_usd"] or 0
    return {
        **{name: row[name] for name in groups},
        "requests": requests,
        "attempts": attempts,
        "prompt_tokens": row["prompt_tokens"] or 0,
        "completion_tokens": row["completion_tokens"] or 0,
        "cached_tokens": row["cached_tokens"] or 0,
        "web_searches": row["web_searches"] or 0,
        "cost_usd": None if cost is None else usd(cost),
        "cost_nano_usd": cost,
        "unpriced": unpriced,
        # What the answers from the cache had cost when a provider made them.
        "cache_saved_usd": usd(row["saved_nano_usd"] or 0),
        "cost_per_request_usd": usd(cost / requests) if requests and cost is not None else None,
        "mean_latency_ms": round((row["duration_ms"] or 0) / attempts, 2) if attempts else None,
    }
