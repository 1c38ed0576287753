"""Replays over rows that the ledger wrote, by the selector that selected them."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors, rpc
from services.gateway import postgres
from services.gateway.config import plans
from services.gateway.keys.permissions import Caller
from services.gateway.ledger.rows import TOKEN_COLUMNS
from services.gateway.peers.clients import Selector
from services.gateway.replays import configuration, replay
from services.gateway.replays.configuration import OtherConfiguration, Wanted
from services.gateway.replays.past_requests import Page
from services.gateway.replays.replay import LONGEST, Gathered, Replays
from services.gateway.replays.request import Excluded
from services.gateway.reports.readers import Readers
from services.gateway.reports.time_range import TimeRange, time_range
from tests.gateway.conftest import eventually
from tests.gateway.replays import traffic
from tests.gateway.replays.traffic import LUMNI, Day, configured, lived, selecting

COUNT = 700
TIMES = TimeRange(
    datetime.fromtimestamp(traffic.BEGAN_S, UTC) - timedelta(hours=1),
    datetime.fromtimestamp(traffic.BEGAN_S, UTC) + timedelta(days=2),
)
# A plan whose requests are all answered by one model, whatever the classifier says.
ONE_MODEL = LUMNI.replace("{access_groups: [all], strategy: cost,", "{access_groups: [only],")
POWERFUL = classifier_pb2.TIER_POWERFUL
OTHER = LUMNI.replace("powerful_share: 0.3", "powerful_share: 0.7").replace("strategy: cost, ", "")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the selector alone: the calls to it have deadlines."""
    now = [traffic.BEGAN_S]
    stopped = SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic)
    monkeypatch.setattr("services.selector.servicer.time", stopped)
    return now


async def day(folder: Path, clock: list[float], count: int = COUNT, version: str = "v1") -> Day:
    known = plans.load(folder / "lumni.yaml").by_name
    callers = [
        Caller(key_id="k1", plan=known["team"]),
        Caller(key_id="k2", plan=known["team"], powerful_share=0.5),
        Caller(key_id="k3", plan=known["cheap"]),
    ]
    return await lived(folder, callers, count, clock, version=version)


async def test_todays_configuration_costs_what_the_ledger_says_to_the_nano_dollar(
    pool: postgres.Pool, tmp_path: Path, clock: list[float]
) -> None:
    folder = configured(tmp_path / "now")
    was = await day(folder, clock)
    await was.write(pool)
    async with selecting(folder) as selector:
        replays = Replays(Readers(pool), selector, folder)
        found = await replays.compare(TIMES, Wanted())
        # The same texts, given as others.
        texts = Wanted(lumni_yaml=LUMNI, litellm_yaml=traffic.FLEET)
        given = await replays.compare(TIMES, texts)
        one_plan = await replays.compare(TIMES, Wanted(), "cheap")

    ledger = await pool.fetchval("SELECT sum(cost_nano_usd)::bigint FROM usage_records")
    assert was.cost_nano_usd == ledger > 0
    for one in (found, given):
        total = one.total
        assert (COUNT, 0, 0) == (total.requests, total.moved, total.estimated)
        assert (ledger, ledger, 0.0) == (total.then, total.now, total.margin(one.lengths))
        assert total.powerful[0] == total.powerful[1] > 0
        assert total.models[0] == total.models[1]
        assert not one.excluded
    assert {"cheap", "team"} == set(found.groups["plan"])
    assert one_plan.total.then == found.groups["plan"]["cheap"].then
    assert ledger == sum(sums.now for sums in found.groups["category"].values())
    assert "would have cost what they cost" in found.shown()["sentence"]


async def test_another_configuration_costs_within_the_interval_what_it_would_really_have_cost(
    pool: postgres.Pool, tmp_path: Path, clock: list[float]
) -> None:
    folder = configured(tmp_path / "now")
    was, really = await day(folder, clock), await day(configured(tmp_path / "other", OTHER), clock)
    await was.write(pool)
    async with selecting(folder) as selector:
        found = await Replays(Readers(pool), selector, folder).compare(TIMES, Wanted(lumni_yaml=OTHER))

    total = found.total
    difference, margin = total.now - total.then, total.margin(found.lengths)
    assert was.cost_nano_usd == total.then
    assert total.estimated > COUNT / 10
    assert abs(difference - (really.cost_nano_usd - was.cost_nano_usd)) < margin
    # The interval says something: that it costs more, and by how much within a half.
    assert 0 < margin < difference / 2
    shown = found.shown()
    assert shown["total"]["powerful_share_now"] > shown["total"]["powerful_share_then"] + 0.05
    assert "Another model would have answered" in shown["sentence"]


async def test_another_classifier_version_selects_and_costs_what_it_would_have_had_it_been_served(
    pool: postgres.Pool, tmp_path: Path, clock: list[float]
) -> None:
    folder = configured(tmp_path / "now", ONE_MODEL)
    was, really = await day(folder, clock), await day(folder, clock, version="v2")
    await was.write(pool)
    async with selecting(folder) as selector:
        replays = Replays(Readers(pool), selector, folder)
        found = await replays.compare(TIMES, Wanted(classifier_version="v2"))
        same = await replays.compare(TIMES, Wanted(classifier_version="v1"))

    total, shown = found.total, found.shown()
    assert (COUNT, {}) == (total.requests, dict(found.excluded))
    # The tiers are those that it would have had, and so are nearly all models: what failed then did not fail the other day.
    powerful = [sum(one.selection.tier == POWERFUL for one in each.decisions) for each in (was, really)]
    assert powerful == total.powerful
    assert powerful[0] != powerful[1]
    selected = Counter(one.selection.candidates[0].model for one in really.decisions)
    assert (total.models[1] - selected).total() < COUNT / 20
    assert total.moved > COUNT / 20
    # Where the same deployment answers, all is known.
    assert cost_of_plan(really, "cheap") == found.groups["plan"]["cheap"].now
    difference, margin = total.now - total.then, total.margin(found.lengths)
    assert abs(difference - (really.cost_nano_usd - was.cost_nano_usd)) < margin
    assert margin < abs(difference)
    assert shown["total"]["quality_now"] is not None
    # By the version that was served it is what the ledger says.
    assert (was.cost_nano_usd, was.cost_nano_usd, 0.0) == (
        same.total.then,
        same.total.now,
        same.total.margin(same.lengths),
    )


async def test_requests_that_another_version_did_not_judge_are_in_no_sum(
    pool: postgres.Pool, tmp_path: Path, clock: list[float]
) -> None:
    folder = configured(tmp_path / "now")
    was = await day(folder, clock, 40)
    unjudged, unasked, others = was.decisions[:10], was.decisions[10:15], was.decisions[15:]
    for one in unjudged:
        one.asked.ClearField("shadow")
    # Nobody judged these.
    for one in unasked:
        one.asked.ClearField("shadow")
        one.classification.version = ""
    await was.write(pool)
    async with selecting(folder) as selector:
        replays = Replays(Readers(pool), selector, folder)
        found = await replays.compare(TIMES, Wanted(classifier_version="v2"))
        unknown = await replays.compare(TIMES, Wanted(classifier_version="v3"))

    assert {Excluded.NOT_JUDGED: len(unjudged)} == dict(found.excluded)
    assert len(unasked) + len(others) == found.total.requests
    assert {Excluded.NOT_JUDGED: 35} == dict(unknown.excluded)
    assert (5, unknown.total.then) == (unknown.total.requests, unknown.total.now)


def cost_of_plan(day: Day, plan: str) -> int:
    """What the requests of a plan cost, in nano-USD."""
    return sum(one.attempt.cost_nano_usd for one in day.usage if one.context.plan == plan)


async def test_a_price_alone_changes_what_known_answers_cost_exactly(
    pool: postgres.Pool, tmp_path: Path, clock: list[float]
) -> None:
    folder = configured(tmp_path / "now")
    was = await day(folder, clock, 100)
    await was.write(pool)
    price = "middle: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6, cache_read_input_token_cost: 5.0e-7}"
    async with selecting(folder) as selector:
        found = await Replays(Readers(pool), selector, folder).compare(TIMES, Wanted(prices_yaml=price))

    pinned = {one.context.request_id for one in was.decisions if one.requested_model == "middle"}
    expected = sum(
        1000 * (used.prompt_tokens - used.cached_tokens)
        + 500 * used.cached_tokens
        + 2000 * used.completion_tokens
        for one in was.usage
        if one.context.request_id in pinned and one.attempt.model == "middle"
        for used in [one.attempt.usage]
    )
    assert expected > 0
    # Pinned requests stay where they were, so theirs is the new price of the tokens of then.
    async with selecting(folder) as selector:
        await pool.execute("DELETE FROM model_selections WHERE requested_model <> 'middle'")
        found = await Replays(Readers(pool), selector, folder).compare(TIMES, Wanted(prices_yaml=price))
    failed_over = sum(
        one.attempt.cost_nano_usd
        for one in was.usage
        if one.context.request_id in pinned and one.attempt.model != "middle"
    )
    assert (len(pinned), expected + failed_over) == (found.total.requests, found.total.now)

    # What is recorded at its bound has no parts, and its tokens are not all that may be billed.
    changed = await pool.execute(
        "UPDATE usage_records SET kind = 'partial', input_cost_nano_usd = NULL WHERE attempt_id = "
        "(SELECT min(attempt_id) FROM usage_records JOIN model_selections USING (request_id) WHERE model = 'middle')"
    )
    assert "UPDATE 1" == changed
    async with selecting(folder) as selector:
        found = await Replays(Readers(pool), selector, folder).compare(TIMES, Wanted(prices_yaml=price))
    assert {Excluded.NO_END: 1} == dict(found.excluded)


async def test_what_cannot_be_replayed_is_counted_with_the_reason(
    pool: postgres.Pool, tmp_path: Path, clock: list[float]
) -> None:
    folder = configured(tmp_path / "now")
    was = await day(folder, clock, 40)
    await was.write(pool)
    ids = sorted(one.context.request_id for one in was.decisions if one.context.plan == "team")
    await pool.execute("UPDATE model_selections SET asked = NULL WHERE request_id = $1", ids[0])
    await pool.execute("UPDATE usage_records SET cost_nano_usd = NULL WHERE request_id = $1", ids[1])
    await pool.execute("DELETE FROM usage_records WHERE request_id = $1", ids[2])
    await pool.execute("UPDATE model_selections SET refusal = 'RATE_LIMIT' WHERE request_id = $1", ids[3])
    only_team = "default_plan: team\nplans:\n  team: {access_groups: [all], powerful_share: 0.3}\n"
    async with selecting(folder) as selector:
        found = await Replays(Readers(pool), selector, folder).compare(TIMES, Wanted(lumni_yaml=only_team))

    cheap = sum(one.context.plan == "cheap" for one in was.decisions)
    assert {
        Excluded.NOT_RECORDED: 1,
        Excluded.UNPRICED_THEN: 1,
        Excluded.NO_ATTEMPT: 1,
        Excluded.PLAN: cheap,
    } == dict(found.excluded)
    assert len(ids) - 4 == found.total.requests


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Wanted(lumni_yaml="plans: {team: {}}\ndefault_plan: team"), "lumni_yaml"),
        (Wanted(lumni_yaml="selector: {powerful_share: 2}"), "lumni_yaml"),
        (Wanted(litellm_yaml="model_list: 3"), "litellm_yaml"),
        (Wanted(prices_yaml="nobody: {input_cost_per_token: 1}"), "prices_yaml"),
    ],
)
async def test_a_mistake_is_named_by_its_field(
    pool: postgres.Pool, tmp_path: Path, wanted: Wanted, field: str
) -> None:
    folder = configured(tmp_path / "now")
    async with selecting(folder) as selector:
        with pytest.raises(errors.Invalid) as refused:
            await Replays(Readers(pool), selector, folder).compare(TIMES, wanted)

    assert field == refused.value.param
    assert f"{field}: " in refused.value.message


async def test_a_time_that_is_too_long_is_refused(pool: postgres.Pool, tmp_path: Path) -> None:
    folder = configured(tmp_path / "now")
    async with selecting(folder) as selector:
        with pytest.raises(errors.Invalid) as refused:
            await Replays(Readers(pool), selector, folder).compare(
                TimeRange(TIMES.since, TIMES.since + timedelta(days=100)), Wanted()
            )

    assert "from" == refused.value.param


async def test_the_next_replay_begins_when_the_thread_of_one_that_took_too_long_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def read(_: Path, wanted: Wanted) -> OtherConfiguration:
        may_end.wait()
        raise errors.Invalid("has been read")

    monkeypatch.setattr(configuration, "read", read)
    monkeypatch.setattr(replay, "TIMEOUT_S", 0.01)
    replays = Replays(cast("Readers", None), cast("Selector", None), tmp_path)
    try:
        with pytest.raises(errors.Invalid, match="took longer"):
            await replays.compare(TIMES, Wanted())
        with pytest.raises(errors.Unavailable, match="another replay"):
            await replays.compare(TIMES, Wanted())
    finally:
        may_end.set()

    async def is_free() -> bool:
        monkeypatch.setattr(replay, "TIMEOUT_S", 60.0)
        try:
            await replays.compare(TIMES, Wanted())
        except errors.Invalid:
            return True
        except errors.Unavailable:
            return False
        return False

    await eventually(is_free)


def row(number: int, recorded: bytes) -> Any:
    """A decision's row, as far as a replay reads it."""
    return {
        "request_id": f"r{number:05d}",
        "decided_at": TIMES.since,
        "plan": "team",
        "requested_model": "auto",
        "tier": "fast",
        "candidates": ["a"],
        "chosen_model": "a",
        "asked": recorded,
        "category": "code",
        "language": "en",
        "strong_win_rate": 0.1,
        "version": "v1",
        "judged": "fast",
    }


def attempt(number: int) -> Any:
    """An attempt's row, as far as a replay reads it."""
    tokens = dict.fromkeys(TOKEN_COLUMNS, 1)
    names = {"tenant": "t", "deployment": "a", "model": "a", "kind": "final"}
    return {"request_id": f"r{number:05d}", **names, **tokens, "cost_nano_usd": 1, "input_cost_nano_usd": 1}


def test_what_was_recorded_is_refused_as_soon_as_it_is_too_much_and_kept_once() -> None:
    states = [selector_pb2.DeploymentState(deployment="d" * 1000) for _ in range(250)]
    asked = selector_pb2.Asked(circumstances=selector_pb2.Circumstances(states=states))
    recorded = asked.SerializeToString()
    gathered = Gathered(OtherConfiguration(None, {}), Wanted())
    read = 0
    with pytest.raises(errors.Invalid) as refused:
        for first in range(0, 1000, 10):
            numbers = range(first, first + 10)
            gathered.add(Page([row(n, recorded) for n in numbers], [attempt(n) for n in numbers]))
            read += len(numbers)

    assert ("REPLAY_TOO_LARGE", "from") == (refused.value.reason, refused.value.param)
    most = rpc.MAX_BODY // len(recorded)
    assert most - 10 <= read <= most
    assert len(recorded) * (most - 1) < gathered.asked.ByteSize() <= rpc.MAX_BODY


def test_ninety_two_days_until_now_are_no_longer_than_allowed() -> None:
    began = datetime.now(UTC) - LONGEST.days * timedelta(days=1)

    time_range(began, None).check(LONGEST)
    with pytest.raises(errors.Invalid, match="at most 92 days"):
        time_range(began - timedelta(days=1), None).check(LONGEST)
