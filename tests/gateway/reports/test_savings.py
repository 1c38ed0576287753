"""The savings report, from rows that the ledger wrote."""

from datetime import timedelta
from pathlib import Path

from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2

from services.gateway import postgres, savings
from services.gateway.config import plans
from services.gateway.keys.permissions import Caller
from services.gateway.reports.readers import Readers
from services.gateway.reports.savings import LEAST_VERDICTS, SavingsReports
from services.gateway.reports.time_range import TimeRange
from services.gateway.reports.usage import UsageQuery, UsageReports
from tests.gateway.replays.test_replay import TIMES
from tests.gateway.replays.traffic import configured, lived

FEE = 10_000_000


async def test_savings_are_the_ledgers_to_the_nano_dollar_and_quality_is_known_where_it_was_measured(
    pool: postgres.Pool, tmp_path: Path
) -> None:
    folder = configured(tmp_path / "now")
    plan = plans.load(folder / "lumni.yaml").by_name["team"]
    day = await lived(folder, [Caller(key_id="k", plan=plan)], 150, [0.0])
    searched, spoken = [one.attempt for one in day.usage if one.attempt.usage.completion_tokens][:2]
    # A search of the web, which any model would have cost; and an answer that is billed by characters.
    searched.cost_nano_usd += FEE
    searched.cost_parts.fees_nano_usd += FEE
    spoken.usage.Clear()
    spoken.cost_parts.CopyFrom(executor_pb2.CostParts(fees_nano_usd=spoken.cost_nano_usd))
    auto, out = (
        next(one.selection for one in day.decisions[2:] if one.requested_model == model)
        for model in ("auto", "middle")
    )
    savings.most_powerful(auto.candidates).unpriced = True
    # The pinned model was out, and a fallback of it comes first.
    out.candidates.insert(0, auto.candidates[-1])
    assert out.candidates[0].model != "middle" == out.pinned
    await day.write(pool)
    answers = {
        one.context.request_id: one.attempt for one in day.usage if one.attempt.usage.completion_tokens
    }

    def sums(model: str) -> tuple[int, int, int]:
        """Requests, their cost, and that of a counterfactual."""
        requests = cost = other = 0
        for decision in day.decisions:
            attempt, listed = answers.get(decision.context.request_id), decision.selection.candidates
            if attempt is None:
                continue
            if model == "pinned" and not decision.requested_model == "middle" == listed[0].model:
                continue
            chosen = {
                "all_powerful": savings.most_powerful(listed),
                "all_fast": savings.cheapest(listed),
                "pinned": listed[0],
            }[model]
            if chosen.unpriced:
                continue
            requests += 1
            cost += attempt.cost_nano_usd - attempt.cost_parts.fees_nano_usd
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
    report = await SavingsReports(Readers(pool)).report(TIMES)

    for name, found in report["against"].items():
        total = found["total"]
        assert sums(name) == (total["requests"], total["cost_nano_usd"], total["counterfactual_nano_usd"])
        for column in ("requests", "cost_nano_usd", "saved_nano_usd"):
            assert total[column] == sum(one[column] for one in found["by_category"])
    # One meaning: the number that usage reports and the dashboard show.
    shown = await UsageReports(Readers(pool)).savings(UsageQuery(TIMES.since, TIMES.until))
    assert shown.saved_nano_usd == report["against"]["all_powerful"]["total"]["saved_nano_usd"]
    ledger = await pool.fetchval("SELECT sum(cost_nano_usd)::bigint FROM usage_records")
    assert (ledger, 0) == (report["ledger_nano_usd"], report["without_answer_nano_usd"])
    assert (FEE, 1) == (report["fees_nano_usd"], report["without_tokens"])
    assert ledger == sums("all_fast")[1] + FEE + report["without_tokens_nano_usd"]
    assert len(answers) == sums("all_fast")[0] == sums("all_powerful")[0] + 1
    assert sums("all_powerful")[2] > sums("all_fast")[2] > 0
    cached = sum(one.usage.cached_tokens for one in answers.values())
    assert 0 < cached == report["against"]["all_fast"]["total"]["cached_tokens"]
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
    empty = TimeRange(TIMES.since - timedelta(days=9), TIMES.since)
    report = await SavingsReports(Readers(pool)).report(empty)

    assert {0} == {found["total"]["requests"] for found in report["against"].values()}
    assert {None} == {found["total"]["saved_share"] for found in report["against"].values()}
    assert {} == report["measured_quality"]
