"""What the ledger has of each choice, from the selector's decision on."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.gateway import postgres
from services.gateway.config import plans
from services.gateway.replays.configuration import Wanted
from services.gateway.replays.replay import Replays
from services.gateway.reports.readers import Readers
from services.gateway.reports.time_range import TimeRange
from tests.gateway.money import caller
from tests.gateway.replays import traffic

SHARE = 0.2


async def test_each_choice_that_may_teach_has_a_row_and_is_repeated_by_a_replay(
    pool: postgres.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [traffic.BEGAN_S]
    stopped = SimpleNamespace(time=lambda: clock[0], monotonic=time.monotonic)
    monkeypatch.setattr("services.selector.servicer.time", stopped)
    # Without a budget, so only what costs no more is explored.
    learning = f"{traffic.LUMNI}learning: on\nexploration: {{share: {SHARE}, budget_usd: 0}}\n"
    folder = traffic.configured(tmp_path / "on", learning)
    team = caller(key="ann", plan=plans.load(folder / "lumni.yaml").by_name["team"])
    day = await traffic.lived(folder, [team], 200, clock)
    await day.write(pool)
    rows = {row["request_id"]: row for row in await pool.fetch("SELECT * FROM learning_choices")}
    taught = [one for one in day.decisions if one.asked.circumstances.HasField("learning")]

    assert {one.context.request_id for one in taught} == rows.keys()
    assert {"auto"} == {one.requested_model for one in taught}
    explored = 0
    for one in taught:
        row, learning_of = rows[one.context.request_id], one.asked.circumstances.learning
        assert one.selection.candidates[0].model == row["model"] == learning_of.chosen.model
        assert (learning_of.current.model, learning_of.learned.model) == (
            row["current_model"],
            row["learned_model"],
        )
        assert (one.asked.turn, None) == (row["turn"], row["previous_turn"])
        assert int(one.classification.strong_win_rate >= 0.5) == row["level"]
        explored += bool(learning_of.explored)
        assert 0 < row["probability"] <= (SHARE if learning_of.explored else 1)
    assert 0 < explored <= SHARE * len(taught)
    began = datetime.fromtimestamp(traffic.BEGAN_S, UTC)
    async with traffic.selecting(folder) as selector:
        replays = Replays(Readers(pool), selector, folder)
        span = TimeRange(began - timedelta(hours=1), began + timedelta(days=2))
        again = await replays.compare(span, Wanted())
        without = await replays.compare(span, Wanted(lumni_yaml=traffic.LUMNI))

    assert (200, 0, day.cost_nano_usd) == (again.total.requests, again.total.moved, again.total.now)
    # Without learning nothing is explored.
    assert without.total.moved > 0
