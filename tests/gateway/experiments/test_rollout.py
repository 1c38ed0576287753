"""Gradual routing: shares by steps, keys that stay, and the way back to the last good share by itself."""

import random
import time
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lumni.gateway.v1 import experiments_pb2 as pb

from services.chassis import redis
from services.chassis.errors import Conflict, Invalid
from services.gateway import postgres
from services.gateway.experiments import assignment, definition, rollout, statistics
from services.gateway.experiments.assignment import Running
from services.gateway.experiments.guard import ACTOR, Guard
from services.gateway.experiments.live import LiveExperiments
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.rollout import Progress, Rollout
from services.gateway.experiments.statistics import Moments
from services.gateway.experiments.store import ExperimentStore
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.database import KeyDatabase
from services.gateway.reports.readers import Readers
from services.gateway.rpc import admission
from services.gateway.rpc.experiment_servicer import ExperimentServicer
from tests.gateway.experiments.test_assignment import CALLER, SALT, chat, variant_of
from tests.gateway.experiments.test_store import write

OLD_AND_NEW = [{"name": "old", "access_groups": ["old"]}, {"name": "new"}]
NOW = 1_000_000.0


def described(**more: Any) -> definition.Definition:
    return definition.parse({"name": "move", "variants": OLD_AND_NEW, "model": "*", "rollout": {}, **more})


def test_who_has_the_new_target_at_one_share_has_it_at_every_larger_one() -> None:
    keys = [replace(CALLER, key_id=f"key-{n}", user_id="") for n in range(500)]
    before: set[str] = set()
    for share in (0, 10, 25, 50, 100):
        one = Running("ex-1", SALT, described(), share=share)
        moved = {caller.key_id for caller in keys if variant_of(one, caller, chat()) == "new"}

        assert before <= moved
        assert len(moved) == pytest.approx(share / 100 * len(keys), abs=60)
        before = moved
    assert len(keys) == len(before)


def test_whatever_they_ask_for_takes_part_and_goes_to_the_old_groups() -> None:
    one = Running("ex-1", SALT, described(), share=0)
    for model in ("auto", "gpt-4o"):
        changed = assignment.of_request([one], CALLER, chat(model=model))
        assert (model, ("old",)) == (changed.model, changed.hints.access_groups)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("rollout", []),
        ("rollout", {"stages": [1]}),
        ("rollout.steps", {"steps": []}),
        ("rollout.steps", {"steps": [50, 10]}),
        ("rollout.steps", {"steps": [-1, 10]}),
        ("rollout.steps", {"steps": [10, 101]}),
        ("rollout.hold_s", {"hold_s": 0}),
    ],
)
def test_what_is_wrong_is_named(field: str, wrong: Any) -> None:
    with pytest.raises(Invalid) as refused:
        described(rollout=wrong)
    assert field == refused.value.param


def test_steps_and_weights_exclude_each_other() -> None:
    with pytest.raises(Invalid, match="two variants without weights"):
        described(variants=[{"name": "old", "weight": 9}, {"name": "new"}])


def test_it_falls_back_to_the_shares_that_were_good() -> None:
    first = rollout.begun(Rollout(), NOW)
    second = rollout.moved(first, 25, NOW + 1)
    jumped = rollout.moved(second, 100, NOW + 2)
    assert (10, 25, 100) == (first.share, second.share, jumped.share)

    back = rollout.fallen(jumped, "it fails", NOW + 3)
    assert Progress(25, NOW + 3, 4, (10,), "it fails") == back
    assert 10 == rollout.fallen(back, "again", NOW).share
    assert 0 == rollout.fallen(rollout.fallen(back, "again", NOW), "still", NOW).share
    assert back == rollout.read(back.kept)
    # What somebody sets is tried anew.
    assert Progress(50, NOW, 5, (10, 25)) == rollout.moved(back, 50, NOW)


def test_it_goes_on_by_itself_only_where_that_is_wanted_and_nothing_was_broken() -> None:
    steps = Rollout(hold_s=60)
    progress = rollout.begun(steps, NOW)

    assert rollout.following(steps, progress, NOW + 59) is None
    assert 25 == rollout.following(steps, progress, NOW + 60)
    assert rollout.following(Rollout(), progress, NOW + 1e6) is None
    assert rollout.following(steps, replace(progress, held="it fails"), NOW + 60) is None
    assert rollout.following(steps, replace(progress, share=100), NOW + 60) is None


def test_all_shares_together_are_wrong_no_more_often_than_is_said() -> None:
    levels = [rollout.level(0.05, Progress(10, NOW, number)) for number in range(1, 10_000)]
    assert 0.049 < sum(levels) < 0.05


@settings(max_examples=50)
@given(st.floats(0.01, 0.9), st.integers(1, 500), st.floats(0.001, 0.5))
def test_a_share_at_its_bound_exceeds_nothing_and_one_of_nothing_but_failures_does(
    most: float, requests: int, alpha: float
) -> None:
    assert not statistics.exceeds(Moments(requests=requests, total=int(most * requests)), most, alpha)
    assert statistics.exceeds(Moments(requests=10_000, total=10_000.0), most, alpha)


def test_ten_failures_in_a_row_suffice_and_false_alarms_are_rare_however_often_one_looks() -> None:
    assert statistics.exceeds(Moments(units=1, requests=10, total=10.0), 0.05, 0.005)
    drawn, alarms = random.Random(5), 0
    for _ in range(200):
        failed = 0
        for n in range(1, 501):
            failed += drawn.random() < 0.05
            if statistics.exceeds(Moments(requests=n, total=float(failed)), 0.05, 0.05):
                alarms += 1
                break
    assert alarms <= 10


def now_us() -> int:
    return time.time_ns() // 1000


@pytest.fixture
def store(pool: postgres.Pool, client: redis.Redis) -> ExperimentStore:
    return ExperimentStore(KeyDatabase(pool, client))


async def test_a_rollout_stops_by_itself_at_the_last_good_share_and_the_trail_tells(
    store: ExperimentStore, pool: postgres.Pool, client: redis.Redis
) -> None:
    guard, live = Guard(pool, store), LiveExperiments(pool)
    rules = {"error_increase": None, "error_most": 0.05, "latency_p90_ms": 60_000}
    ident = (await store.create("eve", described(guardrails=rules)))["experiment_id"]
    with pytest.raises(Conflict, match="needs a rollout that is running"):
        await store.set_share("eve", ident, 25)
    started = await store.change("eve", "move", "start")
    assert (10, 1) == (started["rollout"]["share"], started["rollout"]["number"])
    # Nothing is known yet, and then nothing is wrong.
    await guard.check()
    await write(pool, ident, "new", [1000] * 20, started_us=now_us())
    await guard.check()
    assert 10 == (await store.get(ident))["rollout"]["share"]

    await store.set_share("eve", ident, 25)
    # Of few keys, and of none that the control has to be compared with.
    await write(pool, ident, "new", [1000] * 12, failed=12, started_us=now_us())
    await guard.check()
    await guard.check()
    now = (await store.get(ident))["rollout"]
    assert (10, [], 3) == (now["share"], now["good"], now["number"])
    assert "more than 5 % of its requests fail: 12 of 12" == now["held"]
    await live.read()
    assert {"move": 10} == {one.definition.name: one.share for one in live._live}
    events = await AuditTrail(KeyDatabase(pool, client)).newest(f"experiment:{ident}", 10)
    assert [("eve", "create"), ("eve", "start"), ("eve", "set_share"), (ACTOR, "fall_back")] == [
        (one["actor"], one["action"].removeprefix("experiment.")) for one in reversed(events)
    ]
    assert {"from": 25, "to": 10, "reason": now["held"]} == {
        name: events[0]["detail"][name] for name in ("from", "to", "reason")
    }


async def test_a_rollout_that_is_slow_falls_back_and_one_that_is_well_goes_on(
    store: ExperimentStore, pool: postgres.Pool
) -> None:
    guard = Guard(pool, store)
    slow = await store.create("eve", described(name="slow", guardrails={"latency_p90_ms": 1}))
    well = await store.create("eve", described(name="well", rollout={"hold_s": 1}))
    for row in (slow, well):
        await store.change("eve", row["experiment_id"], "start")
        await write(pool, row["experiment_id"], "new", [1000] * 120, started_us=now_us())
    # As if that was a while ago.
    await pool.execute(
        "UPDATE experiments SET rollout = jsonb_set(rollout, '{since}', to_jsonb(extract(epoch FROM now()) - 60))"
    )
    await guard.check()

    held = (await store.get("slow"))["rollout"]
    assert (0, "more than one of ten requests takes over 1 ms: 120 of 120") == (held["share"], held["held"])
    progress = (await store.get("well"))["rollout"]
    assert (25, [10]) == (progress["share"], progress["good"])


async def test_a_share_is_set_over_grpc_too(store: ExperimentStore, pool: postgres.Pool) -> None:
    servicer = ExperimentServicer(store, ExperimentResults(Readers(pool)))
    admission.caller.set(replace(CALLER, is_admin=True))
    await store.create("eve", described())
    await store.change("eve", "move", "start")

    def asked(share: int, change: str = "SET_SHARE") -> pb.ChangeExperimentRequest:
        number = pb.ExperimentChange.Value(f"EXPERIMENT_CHANGE_{change}")
        return pb.ChangeExperimentRequest(experiment="move", change=number, share=share)

    changed = await servicer.ChangeExperiment(asked(50), None)
    assert 50 == orjson.loads(changed.experiment.rollout_json)["share"]
    for wrong in (asked(101), asked(-1), asked(5, "STOP")):
        with pytest.raises(Invalid) as refused:
            await servicer.ChangeExperiment(wrong, None)
        assert "share" == refused.value.param


class Overtaken(ExperimentStore):
    """Where an operator sets another share while the guard reads the ledger."""

    async def find(self, *, after: str, limit: int, state: str | None = None) -> list[dict[str, Any]]:
        rows = await super().find(after=after, limit=limit, state=state)
        for row in rows:
            await self.set_share("eve", row["experiment_id"], 0)
        return rows


async def test_the_guard_overrides_no_share_that_was_set_since_it_looked(
    store: ExperimentStore, pool: postgres.Pool, client: redis.Redis
) -> None:
    ident = (await store.create("eve", described(rollout={"hold_s": 1})))["experiment_id"]
    await store.change("eve", ident, "start")
    await pool.execute(
        "UPDATE experiments SET rollout = jsonb_set(rollout, '{since}', to_jsonb(extract(epoch FROM now()) - 60))"
    )
    await write(pool, ident, "new", [1000] * 120, started_us=now_us())
    await Guard(pool, Overtaken(KeyDatabase(pool, client))).check()

    now = (await store.get(ident))["rollout"]
    assert (0, 2) == (now["share"], now["number"])
