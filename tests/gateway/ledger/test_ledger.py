"""The ledger against a real PostgreSQL and a real Valkey: each attempt once, whatever happens."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import redis, redis_keys
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.ledger import rows
from services.gateway.ledger.__main__ import Bookkeeper, Consumer, Housekeeper
from services.gateway.ledger.store import Journal
from services.gateway.limits.admission import Limits
from services.gateway.migrate import FOLDER, migrate
from services.local.postgres import Postgres
from services.local.valkey import Valkey
from tests.gateway.conftest import eventually, running
from tests.gateway.money import (
    FAILED,
    FINAL,
    PARTIAL,
    STARTED,
    Offer,
    admit,
    bill,
    caller,
    event,
    held,
    spent,
    tell,
)


class Ledger:
    """All parts of a ledger process, in this one."""

    def __init__(self, pool: postgres.Pool, client: redis.Redis, grace_s: float = 60.0) -> None:
        self.journal = Journal(pool, grace_s=grace_s)
        self.bookkeeper = Bookkeeper(client, self.journal)
        self.usage = self._consumer(client, redis_keys.USAGE_STREAM, self.bookkeeper.usage)
        self.decisions = self._consumer(client, redis_keys.DECISION_STREAM, self.bookkeeper.decisions)
        self.housekeeper = Housekeeper(self.bookkeeper, self.journal, self.usage, self.decisions, pause_s=0.1)

    def _consumer(self, client: redis.Redis, stream: str, book: Any) -> Consumer:
        return Consumer(client, stream, book, self.bookkeeper, interval_s=0.01, takeover_s=0.2)

    def open(self) -> Any:
        return running(self.usage.run(), self.decisions.run(), self.housekeeper.run())


@pytest.fixture
async def ledger(pool: postgres.Pool, client: redis.Redis) -> AsyncIterator[Ledger]:
    one = Ledger(pool, client)
    async with one.open():
        yield one


async def booked(pool: postgres.Pool, count: int) -> None:
    """Wait until so many attempts have a row, and fail when there are more."""

    async def enough() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM usage_records") >= count)

    await eventually(enough)
    assert count == await pool.fetchval("SELECT count(*) FROM usage_records")


async def acknowledged(client: redis.Redis) -> None:
    """Wait until the ledger is done with everything in the stream."""

    async def nothing_left() -> bool:
        groups = await client.xinfo_groups(redis_keys.USAGE_STREAM)
        info = await client.xinfo_stream(redis_keys.USAGE_STREAM)
        return bool(
            groups
            and groups[0]["pending"] == 0
            and groups[0]["last-delivered-id"] == info["last-generated-id"]
        )

    await eventually(nothing_left)


async def test_an_attempt_becomes_one_row_and_its_sums(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    await tell(client, event(STARTED, request="r1"), event(FINAL, request="r1", cost=400, organization="o1"))

    await booked(pool, 1)

    row = await pool.fetchrow("SELECT * FROM usage_records")
    assert row is not None
    assert (
        "r1/1",
        "final",
        "k1",
        "u1",
        "o1",
        "gpt",
        "openai",
        "code",
        "fast",
        "chat",
        10,
        10,
        400,
        1000,
    ) == (
        row["attempt_id"],
        row["kind"],
        row["key_id"],
        row["user_id"],
        row["organization_id"],
        row["model"],
        row["provider"],
        row["category"],
        row["tier"],
        row["operation"],
        row["prompt_tokens"],
        row["completion_tokens"],
        row["cost_nano_usd"],
        row["max_cost_nano_usd"],
    )
    hour = await pool.fetchrow("SELECT * FROM usage_metrics")
    assert hour is not None
    assert (1, 10, 400) == (hour["attempts"], hour["prompt_tokens"], hour["cost_nano_usd"])
    sums = await pool.fetch("SELECT subject, spent_nano_usd FROM budget_spend WHERE period = 'total'")
    assert {("key:k1", 400), ("user:u1", 400), ("organization:o1", 400)} == {
        tuple(one.values()) for one in sums
    }
    assert 0 == await pool.fetchval("SELECT count(*) FROM open_attempts")


async def test_events_delivered_twice_and_out_of_order_count_once(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    events = [
        event(kind, request=f"r{i}", cost=cost, number=number)
        for i in range(200)
        for kind, cost, number in ((STARTED, 0, 1), (FAILED, 0, 1), (STARTED, 0, 2), (FINAL, 10 + i, 2))
    ]
    twice = events * 2
    random.Random(7).shuffle(twice)
    for start in range(0, len(twice), 100):
        await tell(client, *twice[start : start + 100])

    await acknowledged(client)

    await booked(pool, 400)
    assert sum(10 + i for i in range(200)) == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
    )
    assert 400 == await pool.fetchval("SELECT sum(attempts) FROM usage_metrics")
    # A start that came after its end left a mark; closing it adds nothing.
    await pool.execute("UPDATE open_attempts SET closes_at = now() - interval '1 s'")
    await ledger.bookkeeper.close_overdue()
    assert 400 == await pool.fetchval("SELECT count(*) FROM usage_records")


async def test_costs_count_for_the_period_in_which_the_request_was_admitted(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    before = int((midnight - timedelta(milliseconds=1)).timestamp() * 1000)
    after = int((midnight + timedelta(seconds=2)).timestamp() * 1_000_000)
    await tell(client, event(FINAL, request="r1", cost=5, started_us=after, admitted_ms=before))

    await booked(pool, 1)

    rows = await pool.fetch("SELECT period FROM budget_spend WHERE subject = 'key:k1'")
    assert {"total", "month:2026-02", "week:2026-02-23", "day:2026-02-28"} == {row["period"] for row in rows}


async def test_the_ledgers_sum_replaces_what_the_gateway_settled(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    limits = Limits(client, pool, billable_attempts=1)
    async with limits.delivering():
        admission = await admit(limits, caller(budget=Budget(1000, Period.TOTAL)))
        await limits.settle(admission, bill(admission, 100, 300))
    assert 400 == await spent(client, "key:k1")

    await tell(client, event(FAILED, request=admission.request_id, cost=100))
    await tell(client, event(FINAL, request=admission.request_id, number=2, cost=300))
    await booked(pool, 2)
    await acknowledged(client)

    ledgers, pending = await client.hmget(redis_keys.spent("key:k1", "total"), ["ledger", "pending"])
    assert (b"400", b"0") == (ledgers, pending)


async def test_the_ledger_settles_for_a_gateway_that_died_and_a_late_settlement_adds_nothing(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    limits = Limits(client, pool, billable_attempts=1)
    admission = await admit(limits, caller(budget=Budget(1000, Period.TOTAL)))
    assert 1000 == await held(client, "key:k1")

    await tell(client, event(FINAL, request=admission.request_id, cost=250))
    await booked(pool, 1)
    await acknowledged(client)
    assert (250, 0) == (await spent(client, "key:k1"), await held(client, "key:k1"))

    async with limits.delivering():
        await limits.settle(admission, bill(admission, 250))
    assert (250, 0) == (await spent(client, "key:k1"), await held(client, "key:k1"))


async def test_an_attempt_without_an_end_is_closed_at_its_bound_and_corrected_when_the_end_comes(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    ledger = Ledger(pool, client, grace_s=0.3)
    limits = Limits(client, pool, billable_attempts=1, timeout_s=0.1)
    who = caller(budget=Budget(5000, Period.TOTAL))
    admission = await admit(limits, who)
    async with ledger.open():
        await tell(client, event(STARTED, request=admission.request_id, bound=900))
        await booked(pool, 1)
        row = await pool.fetchrow("SELECT kind, cost_nano_usd FROM usage_records")
        assert row is not None
        assert ("unknown", 900) == tuple(row.values())

        async def told() -> bool:
            return 900 == await spent(client, "key:k1")

        await eventually(told)

        await tell(client, event(PARTIAL, request=admission.request_id, cost=350, bound=900))

        async def corrected() -> bool:
            return 350 == await spent(client, "key:k1")

        await eventually(corrected)
    rows = await pool.fetch("SELECT kind, cost_nano_usd FROM usage_records")
    assert [("partial", 350)] == [tuple(one.values()) for one in rows]
    sums = await pool.fetch("SELECT attempts, cost_nano_usd FROM usage_metrics ORDER BY kind")
    assert [(1, 350), (0, 0)] == [tuple(one.values()) for one in sums]


async def test_a_reservation_nobody_settles_is_given_back_only_when_nothing_is_under_way(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    ledger = Ledger(pool, client)
    limits = Limits(client, pool, billable_attempts=1)
    who = caller(budget=Budget(5000, Period.TOTAL))
    idle, busy = await admit(limits, who), await admit(limits, who)
    await ledger.journal.book([rows.usage(event(STARTED, request=busy.request_id).SerializeToString())])
    for one in (idle, busy):
        await client.zadd(redis_keys.RESERVATIONS, {one.request_id: 1})

    await ledger.bookkeeper.release_abandoned()

    assert 1000 == await held(client, "key:k1")
    assert [busy.request_id.encode()] == await client.zrange(redis_keys.RESERVATIONS, 0, -1)


async def test_poison_is_set_aside_with_its_reason_and_blocks_nobody(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    negative = event(FINAL, request="bad-cost", cost=-1)
    nul = event(FINAL, request="bad-text")
    nul.attempt.model = "a\0b"
    long = event(FINAL, request="bad-length")
    long.context.plan = random.Random(1).randbytes(8000).hex()
    no_kind = event(FINAL, request="bad-kind")
    no_kind.kind = events_pb2.USAGE_KIND_UNSPECIFIED
    good = [event(FINAL, request=f"r{i}", cost=1) for i in range(100)]
    await tell(
        client, *good[:50], negative, b"\xff\xff", nul, long, no_kind, event(FINAL, request=""), *good[50:]
    )

    await booked(pool, 100)

    async def set_aside() -> bool:
        return bool(6 == await pool.fetchval("SELECT count(*) FROM poison_events"))

    await eventually(set_aside)
    reasons = {row["reason"] for row in await pool.fetch("SELECT reason FROM poison_events")}
    assert any("cost_nano_usd" in reason for reason in reasons)
    assert "it is no protobuf message of its kind" in reasons
    await acknowledged(client)


async def test_an_attempt_that_cannot_be_closed_is_set_aside_and_keeps_nobody_from_being_closed(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    nul, negative = event(STARTED, request="nul"), event(STARTED, request="negative", bound=-1)
    nul.attempt.error_class = "b\0c"
    limits = Limits(client, pool, billable_attempts=1)
    idle = await admit(limits, caller(budget=Budget(5000, Period.TOTAL)))
    await client.zadd(redis_keys.RESERVATIONS, {idle.request_id: 1})
    async with Ledger(pool, client, grace_s=0.0).open():
        await tell(client, nul, event(STARTED, request="good", bound=900), negative)
        await booked(pool, 1)

        async def set_aside() -> bool:
            return bool(2 == await pool.fetchval("SELECT count(*) FROM poison_events"))

        await eventually(set_aside)

        async def released() -> bool:
            return 0 == await held(client, "key:k1")

        await eventually(released)
    assert 0 == await pool.fetchval("SELECT count(*) FROM open_attempts")
    assert ("good/1", 900) == tuple(
        (await pool.fetchrow("SELECT attempt_id, cost_nano_usd FROM usage_records") or {}).values()
    )
    assert {"nul/1", "negative/1"} == {
        row["entry_id"] for row in await pool.fetch("SELECT entry_id FROM poison_events")
    }


async def test_many_ledgers_share_the_work_and_count_once(
    pool: postgres.Pool, database: str, client: redis.Redis, valkey: str
) -> None:
    async with (
        postgres.pool(database) as other_pool,
        redis.connect(valkey, timeout_s=5) as other_client,
        Ledger(pool, client).open(),
        Ledger(other_pool, other_client).open(),
    ):
        for start in range(0, 1000, 50):
            await tell(
                client,
                *(
                    event(FINAL, request=f"r{i}", cost=i, user=f"u{i % 7}", key=f"k{(i * 5) % 11}")
                    for i in range(start, start + 50)
                ),
            )
        await booked(pool, 1000)
    assert sum(range(1000)) == await pool.fetchval(
        "SELECT sum(spent_nano_usd) FROM budget_spend WHERE subject LIKE 'user:%' AND period = 'total'"
    )


async def test_writers_that_touch_the_same_subjects_in_opposite_orders_lose_nothing(
    pool: postgres.Pool,
) -> None:
    journal = Journal(pool)

    async def write(round_: int, backwards: bool) -> None:
        numbers = range(40, 0, -1) if backwards else range(1, 41)
        events = [
            rows.usage(
                event(FINAL, request=f"{round_}-{backwards}-{i}", cost=1, user=f"u{i}").SerializeToString()
            )
            for i in numbers
        ]
        while True:
            with suppress(*postgres.CONFLICTS):
                await journal.book(events)
                return

    await asyncio.gather(*(write(i, i % 2 == 0) for i in range(12)))

    sums = await pool.fetch(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject LIKE 'user:%' AND period = 'total'"
    )
    assert [12] * 40 == [row["spent_nano_usd"] for row in sums]


async def test_what_a_dead_ledger_read_is_taken_over(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    async def group_exists() -> bool:
        return bool(
            await client.exists(redis_keys.USAGE_STREAM)
            and await client.xinfo_groups(redis_keys.USAGE_STREAM)
        )

    await eventually(group_exists)
    async with client.pipeline(transaction=True) as pipe:
        # In one transaction, so that the living ledger cannot be faster than the dead one.
        pipe.xadd(
            redis_keys.USAGE_STREAM,
            {redis_keys.EVENT_FIELD: event(FINAL, request="r1", cost=3).SerializeToString()},
        )
        pipe.xreadgroup(redis_keys.LEDGER_GROUP, "dead", {redis_keys.USAGE_STREAM: ">"}, count=10)
        _, read = await pipe.execute()
    assert read

    await booked(pool, 1)
    await acknowledged(client)


async def test_the_ledger_waits_for_postgresql_and_loses_nothing(
    make_postgres: Callable[[], Postgres], client: redis.Redis
) -> None:
    server = make_postgres()
    await server.start()
    await migrate(server.url)
    async with postgres.pool(server.url, timeout_s=2) as pool, Ledger(pool, client).open():
        await tell(client, *(event(FINAL, request=f"a{i}", cost=1) for i in range(50)))
        await booked(pool, 50)
        await server.stop()
        await tell(client, *(event(FINAL, request=f"b{i}", cost=1) for i in range(50)))
        await server.start()
        await booked(pool, 100)
        assert 100 == await pool.fetchval(
            "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
        )


async def test_the_ledger_waits_for_locks_and_loses_nothing(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE budget_spend, open_attempts IN ACCESS EXCLUSIVE MODE")
        await tell(
            client, *(event(kind, request=f"r{i}", cost=1) for i in range(50) for kind in (STARTED, FINAL))
        )

        async def read() -> bool:
            groups = (
                await client.xinfo_groups(redis_keys.USAGE_STREAM)
                if await client.exists(redis_keys.USAGE_STREAM)
                else []
            )
            return bool(groups and groups[0]["pending"])

        await eventually(read)
        # Longer than the ledger's patience with a lock, so that it has to begin anew.
        await asyncio.sleep(postgres.TIMEOUT_S + 0.2)
    await booked(pool, 50)
    assert 50 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
    )


async def test_after_redis_lost_everything_budgets_come_from_the_ledger(
    pool: postgres.Pool, make_valkey: Callable[[], Valkey]
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(budget=Budget(1000, Period.TOTAL))
    async with redis.connect(server.url, timeout_s=5) as client, Ledger(pool, client).open():
        await tell(client, event(FINAL, request="r1", cost=600))
        await booked(pool, 1)
        await client.flushall()
        # The same event from a spool, because nobody acknowledged it, and one that is new.
        await tell(client, event(FINAL, request="r1", cost=600), event(FINAL, request="r2", cost=150))
        await booked(pool, 2)

        limits = Limits(client, pool, billable_attempts=1)
        admission = await admit(
            limits, who, offers=[Offer("dear", max_cost_nano_usd=251), Offer("fits", "m", 250)]
        )

    assert ("fits",) == admission.deployments


async def test_a_sum_read_before_the_ledger_wrote_cannot_overwrite_a_newer_one(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    ledger = Ledger(pool, client)
    first = [("1-1", event(FINAL, request="r1", cost=600).SerializeToString())]
    await ledger.bookkeeper.usage(first)

    # What a gateway read before that commit, and only now tells Redis.
    limits = Limits(client, pool, billable_attempts=1)
    ask = limits._question(
        caller(budget=Budget(1000, Period.TOTAL)), "r2", 10, [Offer(max_cost_nano_usd=500)]
    )
    answer = await limits._admit({**ask, "seeds": {"key:k1:total": [0, 0]}})

    assert "refusal" in answer


async def test_decisions_become_classifications_and_selections_once(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    decided = events_pb2.DecisionEvent(
        context=chat_pb2.RequestContext(request_id="r1", key_id="k1", user_id="u1", plan="free"),
        classification=classifier_pb2.Classification(
            tier=classifier_pb2.TIER_FAST, category=classifier_pb2.CATEGORY_MATH, strong_win_rate=0.25
        ),
        selection=selector_pb2.Selection(
            tier=classifier_pb2.TIER_FAST,
            candidates=[
                selector_pb2.Candidate(deployment="a", model="small", quality=0.4),
                selector_pb2.Candidate(
                    deployment="b",
                    model="big",
                    quality=0.9,
                    input_nano_usd_per_mtok=5,
                    output_nano_usd_per_mtok=25,
                ),
            ],
        ),
        decided_unix_ms=1_790_000_000_000,
        requested_model="auto",
    )
    refused = events_pb2.DecisionEvent(
        context=chat_pb2.RequestContext(request_id="r2"),
        refusal="RATE_LIMIT_EXCEEDED",
        decided_unix_ms=1_790_000_000_000,
    )
    for one in (decided, refused, decided):
        await client.xadd(redis_keys.DECISION_STREAM, {redis_keys.EVENT_FIELD: one.SerializeToString()})

    async def written() -> bool:
        return bool(2 == await pool.fetchval("SELECT count(*) FROM model_selections"))

    await eventually(written)
    row = await pool.fetchrow("SELECT * FROM model_selections WHERE request_id = 'r1'")
    assert row is not None
    assert (["a", "b"], "small", "big", 25) == (
        row["candidates"],
        row["chosen_model"],
        row["baseline_model"],
        row["baseline_output_nano_usd_per_mtok"],
    )
    assert "math" == await pool.fetchval("SELECT category FROM task_classifications")


async def test_rows_go_to_the_table_of_their_month_and_old_ones_are_pruned_in_batches(
    pool: postgres.Pool,
) -> None:
    journal = Journal(pool)
    now = datetime.now(UTC)
    await journal.make_partitions(now)
    await journal.make_partitions(now)
    for name, moment in (("new", now), ("old", now - timedelta(days=400))):
        await journal.book(
            [
                rows.usage(
                    event(
                        FINAL,
                        request=f"{name}{i}",
                        cost=1,
                        started_us=int(moment.timestamp() * 1e6) + i,
                    ).SerializeToString()
                )
                for i in range(10)
            ]
        )
    table = f"usage_records_{now:%Y_%m}"
    assert 10 == await pool.fetchval(f"SELECT count(*) FROM {table}")

    removed = [await journal.prune(now - timedelta(days=30), batch=4) for _ in range(4)]

    assert [4, 4, 2, 0] == removed
    assert 10 == await pool.fetchval("SELECT count(*) FROM usage_records")
    assert 20 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
    )


async def test_the_stream_keeps_nothing_that_every_ledger_is_done_with(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    for start in range(0, 1000, 100):
        await tell(client, *(event(FINAL, request=f"r{i}") for i in range(start, start + 100)))
    await booked(pool, 1000)
    await acknowledged(client)

    assert await client.xlen(redis_keys.USAGE_STREAM) < 300


async def test_migrations_apply_once_and_a_changed_one_is_refused(empty_database: str) -> None:
    first, second = await asyncio.gather(migrate(empty_database), migrate(empty_database))
    files = sorted(path.name for path in FOLDER.glob("*.sql"))
    assert files == sorted(first + second)
    assert [] == await migrate(empty_database)

    connection = await asyncpg.connect(empty_database)
    await connection.execute("UPDATE schema_migrations SET digest = 'other'")
    await connection.close()
    with pytest.raises(Exception, match="not the database's"):
        await migrate(empty_database)
