"""The savings report, from rows that the ledger wrote."""

from datetime import timedelta
from pathlib import Path

from lumni.classifier.v1 import classifier_pb2

from services.gateway import postgres, savings
from services.gateway.config import plans
from services.gateway.keys.permissions import Caller
from services.gateway.reports.readers import Readers
from services.gateway.reports.savings import LEAST_VERDICTS, SavingsReports
from services.gateway.reports.usage import UsageQuery, UsageReports
from tests.gateway.replays.test_replay import SPAN
from tests.gateway.replays.traffic import configured, lived

WANTED = UsageQuery(SPAN.since, SPAN.until)


async def test_savings_are_the_ledgers_to_the_nano_dollar_and_quality_is_known_where_it_was_measured(
    pool: postgres.Pool, tmp_path: Path
) -> None:
    folder = configured(tmp_path / "now")
    plan = plans.load(folder / "lumni.yaml").by_name["team"]
    day = await lived(folder, [Caller(key_id="k", plan=plan)], 150, [0.0])
    await day.write(pool)
    answers = {
        one.context.request_id: one.attempt for one in day.usage if one.attempt.usage.completion_tokens
    }

    def sums(model: str) -> tuple[int, int, int]:
        """Requests, their cost, and that of a counterfactual."""
        requests = cost = other = 0
        for decision in day.decisions:
            attempt, listed = answers[decision.context.request_id], decision.selection.candidates
            if model == "pinned" and decision.requested_model != "middle":
                continue
            chosen = {
                "all_powerful": savings.most_powerful(listed),
                "all_fast": savings.cheapest(listed),
                "pinned": listed[0],
            }[model]
            requests += 1
            cost += attempt.cost_nano_usd
            other += savings.cost_at(chosen, attempt.usage.prompt_tokens, attempt.usage.completion_tokens)
        return requests, cost, other

    not_judged = {
        one.context.request_id
        for one in day.decisions
        if one.classification.category == classifier_pb2.CATEGORY_WRITING
    }
    of_model = [ident for ident, one in answers.items() if one.model == "middle" and ident not in not_judged]
    await pool.executemany(
        "INSERT INTO feedback (request_id, user_id, value, asked_at) VALUES ($1, 'u', 4, now())",
        [(ident,) for ident in of_model],
    )
    report = await SavingsReports(Readers(pool)).report(WANTED)

    for name, found in report["against"].items():
        total = found["total"]
        assert sums(name) == (total["requests"], total["cost_nano_usd"], total["counterfactual_nano_usd"])
        for column in ("requests", "cost_nano_usd", "saved_nano_usd"):
            assert total[column] == sum(one[column] for one in found["by_category"])
    # One meaning: the number that usage reports and the dashboard show.
    shown = await UsageReports(Readers(pool)).savings(WANTED)
    assert shown.saved_nano_usd == report["against"]["all_powerful"]["total"]["saved_nano_usd"]
    ledger = await pool.fetchval("SELECT sum(cost_nano_usd)::bigint FROM usage_records")
    assert (ledger, 0) == (report["ledger_nano_usd"], report["without_answer_nano_usd"])
    assert sums("all_powerful")[2] > sums("all_fast")[2] > 0
    cached = sum(one.usage.cached_tokens for one in answers.values())
    assert 0 < cached == report["against"]["all_powerful"]["total"]["cached_tokens"]
    qualities = {
        (one["quality"], one["quality_known_for"])
        for found in report["against"].values()
        for one in found["by_category"]
    }
    assert (None, 0.0) in qualities
    assert (
        {4.0}
        == {quality for quality, share in qualities if share}
        == {one["mean"] for one in report["measured_quality"].values()}
    )
    assert all(one["verdicts"] >= LEAST_VERDICTS for one in report["measured_quality"].values())


async def test_without_any_requests_nothing_is_claimed(pool: postgres.Pool) -> None:
    empty = UsageQuery(SPAN.since - timedelta(days=9), SPAN.since)
    report = await SavingsReports(Readers(pool)).report(empty)

    assert {0} == {found["total"]["requests"] for found in report["against"].values()}
    assert {None} == {found["total"]["saved_share"] for found in report["against"].values()}
    assert {} == report["measured_quality"]
