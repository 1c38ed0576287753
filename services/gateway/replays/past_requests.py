"""Requests of the past as the ledger has them: what was decided with what it met, and the attempts that were made."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta

import asyncpg
from google.protobuf.message import DecodeError
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import selection_messages
from services.chassis.enums import number
from services.gateway.keys.permissions import MIRROR
from services.gateway.ledger.rows import COST_PARTS, TOKEN_COLUMNS, Kind
from services.gateway.replays.request import Attempt, Request, Tokens
from services.gateway.reports.readers import Readers
from services.gateway.reports.time_range import TimeRange

# Requests of one statement, which has two seconds.
PAGE = 1000
# An attempt begins no longer before its decision's moment, and no longer after it, than this.
BEFORE, AFTER = timedelta(minutes=5), timedelta(hours=2)
# Kinds of attempts that a provider may bill.
BILLED = (Kind.FINAL, Kind.PARTIAL, Kind.UNKNOWN)
DECISIONS = f"""
SELECT s.request_id, s.decided_at, s.plan, s.requested_model, s.tier, s.candidates, s.chosen_model, s.asked,
       coalesce(c.category, '') AS category, c.language, c.strong_win_rate, c.version, c.tier AS judged
FROM model_selections s
LEFT JOIN task_classifications c ON c.request_id = s.request_id AND c.decided_at = s.decided_at
WHERE s.refusal = '' AND s.key_id NOT LIKE '{MIRROR}%'
    AND (s.decided_at, s.request_id) > ($1, $2) AND s.decided_at < $3 AND ($4 = '' OR s.plan = $4)
ORDER BY s.decided_at, s.request_id LIMIT $5
"""  # noqa: S608  (of the constant above)
ATTEMPTS = f"""
SELECT request_id, tenant, deployment, model, kind, cost_nano_usd, {COST_PARTS[0]}, {", ".join(TOKEN_COLUMNS)}
FROM usage_records WHERE request_id = ANY($1::text[]) AND started_at >= $2 AND started_at < $3
ORDER BY request_id, started_at, length(attempt_id), attempt_id
"""  # noqa: S608  (of the names above)


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A request, and what the selector is told of it; None where nothing was recorded for a replay.

    The shadow is what a version of the classifier that was not served made of it; None where none was asked. The last
    two are whether strategy and split are the plan's: neither key nor request said anything of them.
    """

    request: Request
    decision: selector_pb2.PastDecision | None
    shadow: classifier_pb2.Classification | None = None
    strategy_of_plan: bool = False
    split_of_plan: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of some requests."""

    decided: Sequence[asyncpg.Record]
    made: Sequence[asyncpg.Record]

    def requests(self) -> Iterator[PastRequest]:
        """What the rows say; takes some milliseconds for a hundred."""
        attempts: dict[str, list[asyncpg.Record]] = defaultdict(list)
        for row in self.made:
            attempts[row["request_id"]].append(row)
        for row in self.decided:
            yield _past(row, attempts[row["request_id"]])


async def pages(readers: Readers, times: TimeRange, plan: str) -> AsyncIterator[Page]:
    """Requests that were not refused, of one plan or, where it is empty, of all; the oldest first.

    Raises:
        Unavailable: the database does not answer.
    """
    # Every id is greater than the empty one.
    after = (times.since, "")
    while True:
        async with readers.connection() as connection:
            decided = await connection.fetch(DECISIONS, *after, times.until, plan, PAGE)
            if not decided:
                return
            ids = [row["request_id"] for row in decided]
            first, last = decided[0]["decided_at"], decided[-1]["decided_at"]
            made = await connection.fetch(ATTEMPTS, ids, first - BEFORE, last + AFTER)
        yield Page(decided, made)
        if len(decided) < PAGE:
            return
        after = (last, ids[-1])


def _past(row: asyncpg.Record, made: Sequence[asyncpg.Record]) -> PastRequest:
    asked = selector_pb2.Asked()
    try:
        asked.ParseFromString(row["asked"] or b"")
    except DecodeError:
        asked.Clear()
    required = selection_messages.requirements(asked.requirements)
    request = Request(
        request_id=row["request_id"],
        day=row["decided_at"].astimezone(UTC).date(),
        plan=row["plan"],
        category=row["category"],
        powerful=row["tier"] == "powerful",
        attempts=tuple(map(_attempt, made)),
        candidates=tuple(row["candidates"]),
        price_ids=tuple(asked.price_ids),
        qualities=tuple(asked.qualities),
        units=required.units,
        most_tokens=required.output_tokens * required.choices,
    )
    if not asked.HasField("circumstances") or not made:
        return PastRequest(request, None)
    decision = _decision(row, asked, made[0]["tenant"])
    shadow = asked.shadow if asked.HasField("shadow") else None
    return PastRequest(request, decision, shadow, asked.strategy_of_plan, asked.split_of_plan)


def _decision(row: asyncpg.Record, asked: selector_pb2.Asked, tenant: str) -> selector_pb2.PastDecision:
    classification = classifier_pb2.Classification(
        category=number(classifier_pb2.Category, row["category"]),
        tier=number(classifier_pb2.Tier, row["judged"]),
        strong_win_rate=row["strong_win_rate"] or 0.0,
        version=row["version"] or "",
        language=row["language"] or "",
        long_context=asked.long_context,
    )
    return selector_pb2.PastDecision(
        request=selector_pb2.SelectRequest(
            context=chat_pb2.RequestContext(request_id=row["request_id"], tenant=tenant, plan=row["plan"]),
            classification=classification,
            requirements=asked.requirements,
            policy=asked.policy,
            model=row["requested_model"],
        ),
        circumstances=asked.circumstances,
        tier=number(classifier_pb2.Tier, row["tier"]),
        first_model=row["chosen_model"],
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    tokens = Tokens(**{name: row[name] for name in TOKEN_COLUMNS})
    kind, cost = Kind(row["kind"]), row["cost_nano_usd"]
    # The parts of a cost are not known exactly where it is a bound.
    bound = kind in BILLED and cost is not None and row[COST_PARTS[0]] is None
    return Attempt(row["deployment"], row["model"], kind, cost, tokens, bound)
