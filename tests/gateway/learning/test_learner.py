"""What the ledger learns from outcomes, and what selectors read of it."""

import math
from datetime import UTC, date, datetime, timedelta

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import redis, redis_keys
from services.chassis.errors import NotFound
from services.gateway import postgres
from services.gateway.keys.permissions import Caller, Subject
from services.gateway.learning import outcomes
from services.gateway.learning.judgements import Judgements
from services.gateway.learning.learner import Learner
from services.gateway.learning.report import LearningReports
from services.gateway.ledger import event_rows
from services.gateway.ledger.retention import Retention
from services.gateway.ledger.store import LedgerStore
from services.gateway.reports.feedback import FeedbackStore
from services.gateway.reports.readers import Readers
from services.gateway.requests.feedback_request import Verdict
from services.gateway.requests.request_ids import request_id
from tests.gateway.money import FAILED, FINAL, caller, event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANN = caller(others=[Subject("user:ann")])
TABLES = ("learning_days", "learning_comparisons")


class Ledger:
    """Answers, verdicts, and what is learnt from them."""

    def __init__(self, pool: postgres.Pool, client: redis.Redis) -> None:
        self.pool, self.client = pool, client
        self.store, self.feedback = LedgerStore(pool), FeedbackStore(pool, pauses_s=())
        self.learner = Learner(pool, client)

    async def answer(
        self,
        model: str = "a",
        *,
        at: datetime = NOW,
        who: Caller = ANN,
        turn: int | None = None,
        previous: int | None = None,
        answered_by: str = "",
        kind: events_pb2.UsageKind.ValueType = FINAL,
        refusal: str = "",
    ) -> str:
        """Write the rows of a request that was answered within a second."""
        ident = request_id()
        choices = {
            name: selector_pb2.LearningChoice(model=name, probability=p, quality=0.5)
            for name, p in (("a", 0.9), ("b", 0.1))
        }
        asked = selector_pb2.Asked(turn=turn, previous_turn=previous)
        asked.circumstances.learning.CopyFrom(
            selector_pb2.Learning(level=1, chosen=choices[model], current=choices["a"], learned=choices["b"])
        )
        decision = events_pb2.DecisionEvent(
            context=chat_pb2.RequestContext(request_id=ident, key_id=who.key_id, user_id=who.user_id),
            classification=classifier_pb2.Classification(category=classifier_pb2.CATEGORY_CODE, version="v1"),
            selection=selector_pb2.Selection(candidates=[selector_pb2.Candidate(model=model)]),
            asked=asked,
            decided_unix_ms=int(at.timestamp() * 1000),
            refusal=refusal,
        )
        usage = event(
            kind,
            request=ident,
            model=answered_by or model,
            key=who.key_id,
            user=who.user_id,
            started_us=int(at.timestamp() * 1e6),
        )
        usage.attempt.duration_ms = 1000
        await self.store.write([event_rows.usage(usage.SerializeToString())])
        await self.store.write_decisions([event_rows.decision(decision.SerializeToString())])
        return ident

    async def judge(self, ident: str, value: int, *, weight: float = 1.0, who: Caller = ANN) -> None:
        await self.feedback.give(who, Verdict(value, request_id=ident, weight=weight))

    async def learnt(self, now: datetime = NOW) -> events_pb2.LearnedEvidence:
        """What selectors read after a round."""
        await self.learner.round(now)
        found = await self.client.get(redis_keys.LEARNED)
        assert isinstance(found, bytes)
        return events_pb2.LearnedEvidence.FromString(found)

    async def tables(self) -> list[list[tuple[object, ...]]]:
        """The sums, in their order."""
        return [
            [tuple(row) for row in await self.pool.fetch(f"TABLE {table} ORDER BY 1, 2, 3, 4")]
            for table in TABLES
        ]


@pytest.fixture
def ledger(pool: postgres.Pool, client: redis.Redis) -> Ledger:
    return Ledger(pool, client)


async def test_verdicts_become_evidence_of_the_model_that_answered(ledger: Ledger) -> None:
    for value in (10, 5, -3, 0):
        await ledger.judge(await ledger.answer(), value)
    await ledger.judge(await ledger.answer("b"), 1, weight=0.5)
    found = await ledger.learnt()

    assert [
        (classifier_pb2.CATEGORY_CODE, 1, "a", 2, 3, "2026-11-22"),
        (classifier_pb2.CATEGORY_CODE, 1, "b", 1, 1, "2026-11-22"),
    ] == [(one.category, one.level, one.model, one.liked, one.counted, one.last_on) for one in found.outcomes]
    assert [2 / 3, 1.0] == pytest.approx([one.share for one in found.outcomes])
    # Three and a half outcomes of one user on one day.
    assert math.sqrt(3.5) == pytest.approx(sum(one.weight for one in found.outcomes))
    assert [] == list(found.acting)


async def test_answers_of_fallbacks_failures_and_refusals_teach_nothing(ledger: Ledger) -> None:
    await ledger.judge(await ledger.answer(answered_by="b"), -10)
    await ledger.answer(kind=FAILED)
    await ledger.judge(await ledger.answer(refusal="OVERLOADED"), -10)

    assert [] == list((await ledger.learnt()).outcomes)


async def test_a_conversation_that_is_asked_again_counts_against_the_answer_and_one_that_goes_on_for_it(
    ledger: Ledger,
) -> None:
    at = {seconds: NOW + timedelta(seconds=seconds) for seconds in (0, 30, 60, 2000)}
    await ledger.answer(turn=1)
    await ledger.answer("b", turn=1, at=at[30])
    await ledger.answer(turn=2, previous=1, at=at[60])
    bob = caller(key="bob")
    # Too late for asking again; and another's conversation, although it has the same number.
    await ledger.answer(turn=2, at=at[2000])
    await ledger.answer(turn=2, at=at[60] + timedelta(seconds=5), who=bob)
    found = {one.model: (one.liked, one.counted, one.weight) for one in (await ledger.learnt()).outcomes}

    # Of the first answer both is true: it was asked again, whatever came of that.
    assert {"a": (0, 1, 0.25), "b": (1, 1, 0.25)} == found


async def test_what_was_asked_before_the_answer_had_come_or_all_day_long_is_no_complaint(
    ledger: Ledger,
) -> None:
    for seconds in (0, 0.5):
        await ledger.answer(turn=1, at=NOW + timedelta(seconds=seconds))
    for minutes in range(5):
        await ledger.answer(turn=2, at=NOW + timedelta(minutes=minutes))

    assert [] == list((await ledger.learnt()).outcomes)


async def test_sums_of_days_whose_rows_retention_deletes_stay_until_they_count_no_more(
    ledger: Ledger,
) -> None:
    ledger.learner = Learner(ledger.pool, ledger.client, kept_days=2)
    first, second = [await ledger.answer() for _ in range(2)]
    await ledger.judge(first, 10)
    await ledger.learnt()
    before = await ledger.tables()
    later = NOW + timedelta(days=3)
    await ledger.pool.execute("DELETE FROM learning_choices WHERE request_id = $1", first)
    await ledger.judge(second, 10)
    await ledger.pool.execute("UPDATE feedback SET given_at = $1", later)

    assert 1 == len((await ledger.learnt(later)).outcomes)
    assert before == await ledger.tables()
    assert [] == list((await ledger.learnt(NOW + timedelta(days=400))).outcomes)
    assert not any(await ledger.tables())


async def test_of_two_ledgers_only_the_one_that_sums_publishes(ledger: Ledger) -> None:
    await ledger.judge(await ledger.answer(), 10)
    async with ledger.pool.acquire() as other:
        await other.execute("SELECT pg_advisory_lock($1)", outcomes.LOCK)
        assert not await ledger.learner.round(NOW)
        assert await ledger.client.get(redis_keys.LEARNED) is None

    assert await ledger.learner.round(NOW)
    assert await ledger.client.get(redis_keys.LEARNED) is not None


async def test_summing_all_anew_finds_what_was_summed_round_by_round(ledger: Ledger) -> None:
    given: list[str] = []
    for hours in range(0, 240, 7):
        now = NOW + timedelta(hours=hours)
        given.append(await ledger.answer("ab"[hours % 2], at=now, turn=hours, previous=max(0, hours - 7)))
        if hours % 3 == 0:
            # Of long ago, and changed now and then.
            judged = given[hours % len(given)]
            await ledger.judge(judged, 5 - hours % 9)
            # By the clock of this test.
            await ledger.pool.execute("UPDATE feedback SET given_at = $1 WHERE request_id = $2", now, judged)
        await ledger.learnt(now + timedelta(seconds=1))
    live, published = await ledger.tables(), await ledger.learnt(NOW + timedelta(days=11))
    for table in TABLES:
        await ledger.pool.execute(f"TRUNCATE {table}")
    ledger.learner = Learner(ledger.pool, ledger.client)

    assert published == await ledger.learnt(NOW + timedelta(days=11))
    assert live == await ledger.tables()
    assert all(live)


async def test_days_that_count_no_more_are_forgotten(ledger: Ledger) -> None:
    await ledger.judge(await ledger.answer(), 1)
    assert (await ledger.learnt()).outcomes
    found = await ledger.learnt(NOW + timedelta(days=60))

    assert [] == list(found.outcomes)
    assert [[], []] == await ledger.tables()


async def test_evidence_that_does_better_may_act(ledger: Ledger) -> None:
    ledger.learner = Learner(ledger.pool, ledger.client)
    for number in range(120):
        who = caller(key=f"k{number}")
        model = "b" if number % 4 == 0 else "a"
        ident = await ledger.answer(model, who=who, at=NOW + timedelta(seconds=number))
        await ledger.judge(ident, 5 if model == "b" else -5, who=who)

    assert [classifier_pb2.CATEGORY_CODE] == list((await ledger.learnt()).acting)
    assert date(2026, 11, 22) == (await ledger.tables())[1][0][0]


async def test_a_judge_counts_where_no_user_has_judged(ledger: Ledger) -> None:
    judgements = Judgements(ledger.pool)
    old, said, other = [await ledger.answer(model) for model in ("a", "a", "b")]
    await ledger.judge(said, 10)
    await ledger.answer(kind=FAILED)
    found = await judgements.open(NOW - timedelta(hours=1), 1.0)
    for ident, share in ((old, 0.2), (said, 0.0), (other, 0.9)):
        await judgements.give(ident, "judge", share)
    counted = {one.model: (one.liked, one.counted, one.weight) for one in (await ledger.learnt()).outcomes}

    assert {old, other} == set(found)
    assert [] == await judgements.open(NOW - timedelta(hours=1), 1.0)
    # One and two halves, of one user on one day.
    assert {"a": (1, 2), "b": (1, 1)} == {model: one[:2] for model, one in counted.items()}
    assert [1.5 / math.sqrt(2), 0.5 / math.sqrt(2)] == pytest.approx([counted[model][2] for model in "ab"])
    with pytest.raises(NotFound):
        await judgements.give("nobody", "judge", 0.5)


async def test_a_share_of_the_answers_is_the_same_share_each_time(ledger: Ledger) -> None:
    idents = {await ledger.answer() for _ in range(40)}
    judgements = Judgements(ledger.pool)
    some, more = [set(await judgements.open(NOW - timedelta(hours=1), share)) for share in (0.3, 0.6)]

    assert set() < some < more < idents
    assert some == set(await judgements.open(NOW - timedelta(hours=1), 0.3))


async def test_what_was_learnt_is_told(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    await ledger.judge(await ledger.answer(at=now), 5)
    await ledger.learner.round(now)
    told = await LearningReports(Readers(ledger.pool)).report()

    assert [("code", 1, "a", 1, 1)] == [
        tuple(one[name] for name in ("category", "level", "model", "liked", "counted"))
        for one in told["outcomes"]
    ]
    assert [(1, False)] == [(one["counted"], one["may_act"]) for one in told["comparisons"]]


async def test_what_is_learnt_from_goes_when_it_is_old(ledger: Ledger) -> None:
    judgements = Judgements(ledger.pool)
    for days in (0, 100):
        await judgements.give(await ledger.answer(at=NOW - timedelta(days=days)), "judge", 0.5)
    removed = [await Retention(ledger.pool).prune_learning(NOW - timedelta(days=90)) for _ in range(2)]

    assert [2, 0] == removed
    for table in ("learning_choices", "judgements"):
        assert 1 == await ledger.pool.fetchval(f"SELECT count(*) FROM {table}")
