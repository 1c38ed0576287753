"""What is kept to learn from, on whose word, and for how long."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import redis
from services.chassis.config import Secret
from services.chassis.errors import Invalid, NotFound
from services.gateway import postgres
from services.gateway.keys.permissions import Caller, Subject
from services.gateway.ledger import event_rows
from services.gateway.ledger.retention import Retention
from services.gateway.ledger.store import LedgerStore
from services.gateway.reports.feedback import FeedbackStore
from services.gateway.reports.portkey_feedback import PortkeyFeedback
from services.gateway.requests.feedback_request import Verdict
from services.gateway.requests.request_ids import request_id
from tests import portkey
from tests.gateway.conftest import eventually
from tests.gateway.ledgers import Ledger
from tests.gateway.money import FAILED, FINAL, PARTIAL, STARTED, caller, event

ANN = caller(others=[Subject("user:ann")])
# Nobody waits for the ledger because of this one.
LONG_AGO = "01890a5d-ac96-774b-bcce-b302099a8057"
FAST, POWERFUL = classifier_pb2.TIER_FAST, classifier_pb2.TIER_POWERFUL


async def answered(
    pool: postgres.Pool,
    who: Caller = ANN,
    *,
    ident: str = "",
    models: tuple[str, ...] = ("small",),
    last: events_pb2.UsageKind.ValueType = FINAL,
    tier: classifier_pb2.Tier.ValueType = FAST,
    requested: str = "auto",
    strategy: str = "balanced",
    allowed: tuple[str, ...] = ("small", "big"),
    at: datetime | None = None,
) -> str:
    """Book a request that `models` were tried for, the last one with an end of `last`; its id."""
    ident = ident or request_id()
    moment = at or datetime.now(UTC)
    kinds = [FAILED] * (len(models) - 1) + [last]
    attempts = [
        event(
            kind,
            request=ident,
            number=number,
            model=model,
            key=who.key_id,
            user=who.user_id,
            started_us=int(moment.timestamp() * 1e6) + number,
        )
        for number, (kind, model) in enumerate(zip(kinds, models, strict=True), 1)
    ]
    decision = events_pb2.DecisionEvent(
        context=chat_pb2.RequestContext(request_id=ident, key_id=who.key_id, user_id=who.user_id),
        classification=classifier_pb2.Classification(strong_win_rate=0.25, version="v1", features=[1.0, 2.0]),
        selection=selector_pb2.Selection(
            tier=tier,
            strategy=strategy,
            candidates=[
                selector_pb2.Candidate(deployment=model, model=model, quality=0.9 if model == "big" else 0.4)
                for model in allowed
            ],
        ),
        decided_unix_ms=int(moment.timestamp() * 1000),
        requested_model=requested,
    )
    store = LedgerStore(pool)
    await store.write_decisions([event_rows.decision(decision.SerializeToString())])
    await store.write([event_rows.usage(one.SerializeToString()) for one in attempts])
    return ident


async def outcomes(feedback: FeedbackStore) -> list[int]:
    return [json.loads(line)["outcome"] async for line in feedback.examples()]


async def test_a_second_verdict_replaces_the_first(pool: postgres.Pool) -> None:
    feedback, ident = FeedbackStore(pool), await answered(pool)
    for value in (8, -3):
        await feedback.give(ANN, Verdict(value, ident))

    rows = await pool.fetch("SELECT request_id, user_id, value FROM feedback")

    assert [(ident, "ann", -3)] == [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    "stranger",
    [caller(others=[Subject("user:bob")]), caller("k2"), caller("k2", others=[Subject("user:bob")])],
)
async def test_only_an_answer_of_ones_own_is_judged(pool: postgres.Pool, stranger: Caller) -> None:
    feedback = FeedbackStore(pool)
    # A key with a user and one without.
    for owner, ident in ((ANN, LONG_AGO), (caller("k1"), LONG_AGO.replace("8057", "8058"))):
        await answered(pool, owner, ident=ident)
        with pytest.raises(NotFound, match="no answer of yours") as caught:
            await feedback.give(stranger, Verdict(5, ident))
        assert ("REQUEST_NOT_FOUND", "request_id") == (caught.value.reason, caught.value.param)
        await feedback.give(owner, Verdict(5, ident))
    # Another key of the same user will do.
    await feedback.give(caller("k9", others=[Subject("user:ann")]), Verdict(-5, LONG_AGO))

    assert {5, -5} == {row["value"] for row in await pool.fetch("SELECT value FROM feedback")}


async def test_a_request_that_was_never_made_or_never_answered_is_not_judged(pool: postgres.Pool) -> None:
    feedback = FeedbackStore(pool, pauses_s=[0.01])
    failed = await answered(pool, last=FAILED)
    for ident in (request_id(), failed, LONG_AGO):
        with pytest.raises(NotFound):
            await feedback.give(ANN, Verdict(5, ident))
    for ident in ("r1", "", "a" * 10_000, "f47ac10b-58cc-4372-a567-0e02b2c3d479"):
        with pytest.raises(Invalid, match="request_id: expected"):
            await feedback.give(ANN, Verdict(5, ident))

    assert 0 == await pool.fetchval("SELECT count(*) FROM feedback")


async def test_a_verdict_that_is_quicker_than_the_ledger_waits_for_it(pool: postgres.Pool) -> None:
    ident = request_id()
    verdict = asyncio.create_task(FeedbackStore(pool, pauses_s=[0.05] * 200).give(ANN, Verdict(5, ident)))

    async def looked() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE $1"
        return bool(await pool.fetchval(query, "%INSERT INTO feedback%"))

    await eventually(looked)
    await answered(pool, ident=ident)
    await verdict

    assert 5 == await pool.fetchval("SELECT value FROM feedback")


async def test_a_verdict_goes_to_portkey_once_the_trace_of_its_answer_is_known(pool: postgres.Pool) -> None:
    # The row of the answer is there, that of the decision, with the trace, is not yet.
    ident = await answered(pool)
    with portkey.serving("pk-1") as fake:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            sender = PortkeyFeedback(client, f"{fake.address}/v1/feedback", Secret("pk-1"))
            async with sender.sending():
                feedback = FeedbackStore(pool, pauses_s=[0.05] * 200, portkey=sender)
                verdict = asyncio.create_task(feedback.give(ANN, Verdict(-7, ident)))

                async def kept() -> bool:
                    return bool(await pool.fetchval("SELECT count(*) FROM feedback"))

                await eventually(kept)
                await pool.execute("UPDATE model_selections SET trace_id = 't1'")
                await verdict
                told = await asyncio.to_thread(fake.wait_for_feedback, "t1")

    assert (-7, ident) == (told["value"], told["metadata"]["requestId"])


@pytest.mark.parametrize(
    ("about", "learnt"),
    [
        ({}, True),
        # Another deployment of the same model.
        ({"models": ("small", "small")}, True),
        # The fast model failed, and another gave the answer that is judged.
        ({"models": ("small", "big")}, False),
        ({"models": ("small", "other"), "allowed": ("small", "other", "big")}, False),
        ({"last": PARTIAL}, False),
        ({"tier": POWERFUL, "models": ("big",), "allowed": ("big", "small")}, False),
        # The user's own choice.
        ({"requested": "small"}, False),
        # The selector was down or off, and the configured order held.
        ({"strategy": ""}, False),
        # No stronger model was to be had.
        ({"allowed": ("small",)}, False),
    ],
)
@pytest.mark.parametrize("value", [7, -7, 0])
async def test_an_outcome_is_a_verdict_on_the_fast_model_that_was_chosen_and_answered(
    pool: postgres.Pool, about: dict[str, Any], learnt: bool, value: int
) -> None:
    feedback, ident = FeedbackStore(pool), await answered(pool, **about)
    await feedback.give(ANN, Verdict(value, ident))

    assert ([int(value < 0)] if learnt and value else []) == await outcomes(feedback)


async def test_examples_come_in_portions_and_each_once(pool: postgres.Pool) -> None:
    feedback = FeedbackStore(pool)
    for number in range(5):
        await feedback.give(ANN, Verdict(1 if number < 3 else -1, await answered(pool)))

    portions = [json.loads(line) async for line in feedback.examples(batch=2)]

    assert [0, 0, 0, 1, 1] == sorted(one["outcome"] for one in portions)
    assert {"version", "features", "score", "outcome"} == portions[0].keys()


async def test_what_was_learnt_is_deleted_in_batches_when_it_is_old(pool: postgres.Pool) -> None:
    retention, feedback = Retention(pool), FeedbackStore(pool)
    now = datetime.now(UTC)
    for at in (now, now - timedelta(days=100)):
        for _ in range(5):
            await feedback.give(ANN, Verdict(5, await answered(pool, at=at)))

    removed = [await retention.prune_learning(now - timedelta(days=90), batch=2) for _ in range(4)]

    assert [4, 4, 2, 0] == removed
    assert 5 == await pool.fetchval("SELECT count(*) FROM feedback")
    # The classification itself is the ledger's, and stays.
    assert (10, 5) == tuple(
        (await pool.fetchrow("SELECT count(*), count(features) FROM task_classifications") or {}).values()
    )


@pytest.mark.parametrize(("learnt_days", "retention_days", "left"), [(90, 0, 1), (0, 0, 2), (90, 90, 1)])
async def test_the_ledger_keeps_what_was_learnt_as_long_as_configured_and_no_longer_than_usage(
    pool: postgres.Pool, client: redis.Redis, learnt_days: int, retention_days: int, left: int
) -> None:
    ledger = Ledger(pool, client, grace_s=0, learnt_days=learnt_days, retention_days=retention_days)
    now = datetime.now(UTC)
    await pool.executemany(
        "INSERT INTO feedback (request_id, user_id, value, asked_at) VALUES ($1, 'ann', 1, $2)",
        [("new", now), ("old", now - timedelta(days=100))],
    )
    overdue = event(STARTED, request="overdue", started_us=int(now.timestamp() * 1e6))
    await ledger.store.write([event_rows.usage(overdue.SerializeToString())])

    async def round_is_over() -> bool:
        # A round ends with what is overdue.
        return bool(await pool.fetchval("SELECT count(*) FROM usage_records"))

    async with ledger.open():
        await eventually(round_is_over)
    assert left == await pool.fetchval("SELECT count(*) FROM feedback")


async def test_a_trace_stands_for_its_newest_answer(pool: postgres.Pool) -> None:
    feedback = FeedbackStore(pool, pauses_s=())
    now, trace_id = datetime.now(UTC), "0af7651916cd43dd8448eb211c80319c"
    idents = [await answered(pool, at=now - timedelta(seconds=age)) for age in (20, 10)]
    async with pool.acquire() as connection:
        await connection.execute("""UPDATE usage_records SET metadata = '{"trace_id": "my chat"}'""")
        await connection.execute(
            "UPDATE model_selections SET trace_id = $2 WHERE request_id = $1", idents[0], trace_id
        )

    noted = {"_user": "eve", "why": "short"}
    by_callers = Verdict(5, trace_id="my chat", weight=0.5, metadata=noted)
    assert idents[1] == await feedback.give(ANN, by_callers)
    assert idents[0] == await feedback.give(ANN, Verdict(-5, trace_id=trace_id))
    with pytest.raises(NotFound) as caught:
        await feedback.give(caller("k9", others=[Subject("user:bob")]), by_callers)
    assert "trace_id" == caught.value.param

    async with pool.acquire() as connection:
        rows = await connection.fetch("SELECT * FROM feedback ORDER BY value")
    assert [(idents[0], -5, 1.0, {}), (idents[1], 5, 0.5, noted)] == [
        (row["request_id"], row["value"], row["weight"], row["metadata"]) for row in rows
    ]
