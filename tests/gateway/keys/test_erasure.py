"""What is kept about a user, exported and erased."""

import time
from collections import Counter

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors, redis
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Rate
from services.gateway.keys.erasure import PersonalData
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.permissions import Subject
from services.gateway.keys.store import KeyStore
from services.gateway.ledger import event_rows
from services.gateway.ledger.recovery import Recovery
from services.gateway.ledger.retention import Retention
from services.gateway.ledger.rows import Poison
from services.gateway.ledger.store import LedgerStore
from services.gateway.ledger.writer import LedgerWriter
from services.gateway.limits.admission import Limits
from tests.gateway.money import FINAL, STARTED, Offer, admit, caller, event, held, spent


async def test_an_erased_name_takes_late_events_along_and_may_be_used_again(
    store: KeyStore,
    owners: OwnerStore,
    personal: PersonalData,
    pool: postgres.Pool,
    client: redis.Redis,
) -> None:
    ledger_store = LedgerStore(pool)
    ledger = LedgerWriter(client, ledger_store)

    def usage(request: str, kind: events_pb2.UsageKind.ValueType = FINAL, admitted_ms: int = 0) -> bytes:
        return event(
            kind, request=request, cost=100, user="ann", bound=900, admitted_ms=admitted_ms
        ).SerializeToString()

    before_ms = int(time.time() * 1000) - 60_000
    await owners.put_user("admin", "ann", {})
    await store.create("admin", {"user_id": "ann"})
    for i in range(5):
        await ledger.usage("lumni:usage", [(f"1-{i}", usage(f"r{i}", admitted_ms=before_ms))])
    await ledger.usage("lumni:usage", [("2-1", usage("open", STARTED, before_ms))])
    await ledger_store.set_aside(
        "lumni:usage", [Poison("3-1", "odd", usage("odd")), Poison("3-2", "odd", b"\x05annas")]
    )

    await pool.execute(
        "INSERT INTO request_texts SELECT n, 'ann', '', now(), now() FROM generate_series(1, 7) AS n"
    )

    decided = events_pb2.DecisionEvent(
        context=chat_pb2.RequestContext(request_id="early", user_id="ann"),
        classification=classifier_pb2.Classification(
            features=[1.0], factors=[classifier_pb2.Factor(name="names ann")]
        ),
        selection=selector_pb2.Selection(candidates=[selector_pb2.Candidate(deployment="a")]),
        asked=selector_pb2.Asked(
            policy=selector_pb2.Policy(access_groups=["only-ann"]),
            circumstances=selector_pb2.Circumstances(recent_shares={"model-of-ann": 1.0}),
        ),
        decided_unix_ms=before_ms,
    )
    await ledger.decisions("lumni:decisions", [("0-1", decided.SerializeToString())])

    stranger = await personal.erase("admin", "ann")

    # Late: one attempt ends, one never did, and a decision comes out of a spool.
    await ledger.usage("lumni:usage", [("4-1", usage("late", admitted_ms=before_ms))])
    await pool.execute("UPDATE open_attempts SET closes_at = now() - interval '1 s'")
    await Recovery(client, ledger_store, ledger).close_overdue()
    decided.context.request_id = "late"
    await ledger.decisions("lumni:decisions", [("5-1", decided.SerializeToString())])

    # Neither what was selected nor what it was asked for leads anywhere.
    assert [("early", stranger, None), ("late", stranger, None)] == [
        tuple(row.values())
        for row in await pool.fetch(
            "SELECT request_id, user_id, asked FROM model_selections ORDER BY request_id"
        )
    ]
    assert 7 == await pool.fetchval("SELECT count(*) FROM usage_records WHERE user_id = $1", stranger)
    assert 1500 == await pool.fetchval(
        "SELECT spent_nano_usd FROM budget_spend WHERE subject = $1 AND period = 'total'", f"user:{stranger}"
    )
    assert [b"\x05annas"] == [row["event"] for row in await pool.fetch("SELECT event FROM poison_events")]
    await pool.execute("DELETE FROM poison_events")
    await Retention(pool).forget_erased()
    assert "ann" == await pool.fetchval("SELECT user_id FROM erasures")
    await pool.execute("UPDATE erasures SET erased_at = now() - interval '31 days'")
    await Retention(pool).forget_erased()
    await pool.execute("DELETE FROM key_changes")
    for table in await pool.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    ):
        found = str([tuple(row.values()) for row in await pool.fetch(f"SELECT * FROM {table['relname']}")])
        assert "ann" not in found, table

    # Somebody else of that name begins with nothing, and what he spends counts from the first nano-dollar on.
    limits = Limits(client, pool, billable_attempts=1)
    who = caller(others=(Subject("user:ann", Rate(), Budget(1000, Period.TOTAL)),))
    admission = await admit(limits, who, offers=[Offer(max_cost_nano_usd=1000)])
    now_ms = admission.admitted_unix_ms
    await ledger.usage("lumni:usage", [("6-1", usage(admission.request_id, admitted_ms=now_ms))])
    assert (100, 0) == (await spent(client, "user:ann"), await held(client, "user:ann"))
    with pytest.raises(errors.Exhausted):
        await admit(limits, who, offers=[Offer(max_cost_nano_usd=901)])


async def test_an_export_holds_everything_that_is_kept(
    store: KeyStore, personal: PersonalData, pool: postgres.Pool
) -> None:
    made = await store.create("admin", {"user_id": "ann"})
    await store.create("admin", {"user_id": "bob"})
    for user, key in (("ann", made["key_id"]), ("bob", "k2")):
        one = event(FINAL, request=f"r-{user}", cost=1, user=user, key=key)
        await LedgerStore(pool).write([event_rows.usage(one.SerializeToString())])

    exported = [one async for one in personal.export("admin", "ann")]

    found = Counter(table for table, _ in exported)
    assert {
        "users": 1,
        "virtual_keys": 1,
        "usage_records": 1,
        "usage_metrics": 1,
        # Day, week, month and total, of the user and of the key.
        "budget_spend": 8,
        # That the key was made, and that this was exported.
        "audit_events": 2,
    } == found
    assert "bob" not in str(exported)
