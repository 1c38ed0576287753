"""Events into rows and sums, against a real PostgreSQL and a real Valkey: each attempt once, whatever happens."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import redis, redis_keys
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.limits import admit_arguments, scripts
from services.gateway.limits.admission import Limits
from services.local.valkey import Valkey
from tests.gateway.conftest import eventually
from tests.gateway.ledgers import Ledger, acknowledged, written
from tests.gateway.money import (
    FAILED,
    FINAL,
    STARTED,
    Offer,
    admit,
    append,
    bill,
    caller,
    event,
    held,
    spent,
)


async def test_an_attempt_becomes_one_row_and_its_sums(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    await append(
        client, event(STARTED, request="r1"), event(FINAL, request="r1", cost=400, organization="o1")
    )

    await written(pool, 1)

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
    several = [
        event(kind, request=f"r{i}", cost=cost, number=number)
        for i in range(200)
        for kind, cost, number in ((STARTED, 0, 1), (FAILED, 0, 1), (STARTED, 0, 2), (FINAL, 10 + i, 2))
    ]
    twice = several * 2
    random.Random(7).shuffle(twice)
    for start in range(0, len(twice), 100):
        await append(client, *twice[start : start + 100])

    await acknowledged(client)

    await written(pool, 400)
    assert sum(10 + i for i in range(200)) == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = 'key:k1' AND period = 'total'"
    )
    assert 400 == await pool.fetchval("SELECT sum(attempts) FROM usage_metrics")
    # A start that came after its end left a mark; closing it adds nothing.
    await pool.execute("UPDATE open_attempts SET closes_at = now() - interval '1 s'")
    await ledger.recovery.close_overdue()
    assert 400 == await pool.fetchval("SELECT count(*) FROM usage_records")


async def test_costs_count_for_the_period_in_which_the_request_was_admitted(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    before = int((midnight - timedelta(milliseconds=1)).timestamp() * 1000)
    after = int((midnight + timedelta(seconds=2)).timestamp() * 1_000_000)
    await append(client, event(FINAL, request="r1", cost=5, started_us=after, admitted_ms=before))

    await written(pool, 1)

    rows = await pool.fetch("SELECT period FROM budget_spend WHERE subject = 'key:k1'")
    assert {"total", "month:2026-02", "week:2026-02-23", "day:2026-02-28"} == {row["period"] for row in rows}


async def test_the_ledgers_sum_replaces_what_the_gateway_settled(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    limits = Limits(client, pool, billable_attempts=1)
    async with limits.delivering():
        admission = await admit(limits, caller(budget=Budget(1000, Period.TOTAL)))
        limits.settle(admission, bill(admission, 100, 300))
    assert 400 == await spent(client, "key:k1")

    await append(client, event(FAILED, request=admission.request_id, cost=100))
    await append(client, event(FINAL, request=admission.request_id, number=2, cost=300))
    await written(pool, 2)
    await acknowledged(client)

    ledgers, pending = await client.hmget(redis_keys.spent("key:k1", "total"), ["ledger", "pending"])
    assert (b"400", b"0") == (ledgers, pending)


async def test_the_ledger_settles_for_a_gateway_that_died_and_a_late_settlement_adds_nothing(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    limits = Limits(client, pool, billable_attempts=1)
    admission = await admit(limits, caller(budget=Budget(1000, Period.TOTAL)))
    assert 1000 == await held(client, "key:k1")

    await append(client, event(FINAL, request=admission.request_id, cost=250))
    await written(pool, 1)
    await acknowledged(client)
    assert (250, 0) == (await spent(client, "key:k1"), await held(client, "key:k1"))

    async with limits.delivering():
        limits.settle(admission, bill(admission, 250))
    assert (250, 0) == (await spent(client, "key:k1"), await held(client, "key:k1"))


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
    await append(
        client, *good[:50], negative, b"\xff\xff", nul, long, no_kind, event(FINAL, request=""), *good[50:]
    )

    await written(pool, 100)

    async def set_aside() -> bool:
        return bool(6 == await pool.fetchval("SELECT count(*) FROM poison_events"))

    await eventually(set_aside)
    reasons = {row["reason"] for row in await pool.fetch("SELECT reason FROM poison_events")}
    assert any("cost_nano_usd" in reason for reason in reasons)
    assert "it is no protobuf message of its kind" in reasons
    await acknowledged(client)


async def test_after_redis_lost_everything_budgets_come_from_the_ledger(
    pool: postgres.Pool, make_valkey: Callable[[], Valkey]
) -> None:
    server = make_valkey()
    await server.start()
    who = caller(budget=Budget(1000, Period.TOTAL))
    async with redis.connect(server.url, timeout_s=5) as client, Ledger(pool, client).open():
        await append(client, event(FINAL, request="r1", cost=600))
        await written(pool, 1)
        await client.flushall()
        # The same event from a spool, because it was not acknowledged, and one that is new.
        await append(client, event(FINAL, request="r1", cost=600), event(FINAL, request="r2", cost=150))
        await written(pool, 2)

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
    await ledger.writer.usage(redis_keys.USAGE_STREAM, first)

    # What a gateway read before that commit, and gives Redis only now.
    who = caller(budget=Budget(1000, Period.TOTAL))
    bounds = admit_arguments.Bounds(billable_attempts=1, timeout_s=600, grace_s=60, window_s=60)
    argument = admit_arguments.admission(who, "r2", 10, [Offer(max_cost_nano_usd=500)], bounds)
    argument["seeds"] = {"key:k1:total": [0, 0]}
    (answer,) = await scripts.run_all(scripts.ADMIT, client, [(redis_keys.MONEY, argument)])

    assert "refusal" in orjson.loads(answer)


async def test_decisions_become_classifications_and_selections_once(
    ledger: Ledger, pool: postgres.Pool, client: redis.Redis
) -> None:
    decided = events_pb2.DecisionEvent(
        context=chat_pb2.RequestContext(
            request_id="r1",
            key_id="k1",
            user_id="u1",
            plan="free",
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        configuration="0123456789ab",
        classification=classifier_pb2.Classification(
            tier=classifier_pb2.TIER_FAST,
            category=classifier_pb2.CATEGORY_MATH,
            strong_win_rate=0.25,
            factors=[classifier_pb2.Factor(name="asks for a sum", value=1, contribution=-0.5)],
            features=[1.0],
        ),
        selection=selector_pb2.Selection(
            tier=classifier_pb2.TIER_FAST,
            candidates=[
                selector_pb2.Candidate(
                    deployment="a",
                    model="small",
                    quality=0.4,
                    score=0.81,
                    parts=[selector_pb2.Part(name="quality", value=0.4, weight=0.25)],
                    benchmarks=[selector_pb2.Benchmark(name="mmlu", score=71)],
                ),
                selector_pb2.Candidate(
                    deployment="b",
                    model="big",
                    quality=0.9,
                    benchmarks=[selector_pb2.Benchmark(name="mmlu", score=88)],
                    input_nano_usd_per_mtok=5,
                    output_nano_usd_per_mtok=25,
                    max_cost_nano_usd=9,
                ),
            ],
        ),
        asked=selector_pb2.Asked(policy=selector_pb2.Policy(powerful_share=0.3), price_ids=[1, 2]),
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
    assert "0123456789ab" == row["configuration"]
    assert (["a", "b"], "small", "big", 25) == (
        row["candidates"],
        row["chosen_model"],
        row["baseline_model"],
        row["baseline_output_nano_usd_per_mtok"],
    )
    assert ("small", 0) == (row["cheapest_model"], row["chosen_output_nano_usd_per_mtok"])
    assert decided.asked == selector_pb2.Asked.FromString(row["asked"])
    assert "math" == await pool.fetchval("SELECT category FROM task_classifications")
    assert "0af7651916cd43dd8448eb211c80319c" == row["trace_id"]
    reasons = events_pb2.DecisionEvent.FromString(row["reasons"])
    first, second = reasons.selection.candidates
    assert (0.81, ["quality"], 71) == (
        first.score,
        [one.name for one in first.parts],
        first.benchmarks[0].score,
    )
    assert ("b", 0) == (second.deployment, len(second.benchmarks))
    assert ["asks for a sum"] == [one.name for one in reasons.classification.factors]
    assert not reasons.HasField("context")
    assert not reasons.classification.features
    refusals = await pool.fetchrow(
        "SELECT reasons, asked, trace_id FROM model_selections WHERE request_id = 'r2'"
    )
    assert refusals is not None
    assert (None, None, "") == tuple(refusals)
