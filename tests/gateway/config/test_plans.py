"""Plans and budgets as people write them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.chassis.config import Mistakes
from services.chassis.hosted_tools import Allowed
from services.gateway.config import budgets, plans
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import AtLimit, Plans, Rate, WithoutRedis

GOOD = """
default_plan: one
plans:
  one:
    access_groups: [free]
    rpm: 20
    tpm: 20000
    parallel: 3
    budget_usd: 0.1
    budget_period: day
    at_limit: free
    redis_down: deny
    powerful_share: 0.3
    models: {gpt: {rpm: 2}}
    hosted_tools: {web_search: {max_uses: 5}}
    store: true
    evaluate_prompts: true
selector: {anything: else}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "lumni.yaml"
    path.write_text(text)
    return path


def test_a_plan_is_read_whole(tmp_path: Path) -> None:
    plan = plans.load(written(tmp_path, GOOD)).default

    assert Rate(20, 20000, 3) == plan.rate
    assert Budget(100_000_000, Period.DAY) == plan.budget
    assert (AtLimit.FREE, WithoutRedis.DENY, 0.3) == (plan.at_limit, plan.redis_down, plan.powerful_share)
    assert {"gpt": Rate(rpm=2)} == plan.model_rates
    assert Allowed(web_search=5, store=True) == plan.allowed
    assert (True, True) == (plan.store_prompts, plan.evaluate_prompts)


def test_the_plans_that_ship_are_those_of_the_price_list(configured: Plans) -> None:
    found = {name: (plan.rate.rpm, plan.rate.tpm) for name, plan in configured.by_name.items()}

    assert {"free": (20, 20_000), "plus": (100, 100_000), "pro": (500, 500_000)}.items() <= found.items()
    assert "student" in found
    assert all(plan.access_groups for plan in configured.by_name.values())


@pytest.mark.parametrize(
    ("change", "line", "problem"),
    [
        (("rpm: 20", "rpm: many"), 6, "expected a whole number"),
        (("rpm: 20", "rmp: 20"), 6, "did you mean rpm"),
        (("rpm: 20", "prompts: [tutor]"), 6, "plans.one.prompts: is not known"),
        (("[free]", "[]"), 5, "names no group"),
        (("[free]", "['*']"), 5, "no wildcard"),
        (("budget_usd: 0.1", "budget_usd: -1"), 9, "expected a number"),
        (("budget_usd: 0.1", "budget_usd: 0.00000000001"), 9, "at most nine decimals"),
        (("day", "fortnight"), 10, "expected one of"),
        (("web_search: {max_uses: 5}", "code_execution: {max_uses: 1}"), 15, "no provider bounds and counts"),
        (("{max_uses: 5}", "{}"), 15, "max_uses"),
        (("{max_uses: 5}", "{max_uses: 0}"), 15, "max_uses"),
        (("store: true", "store_prompts: false"), 17, "no prompt of this plan is kept"),
        (("default_plan: one", "default_plan: two"), 2, "there is no plan 'two'"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, problem: str
) -> None:
    with pytest.raises(Mistakes, match=problem) as caught:
        plans.load(written(tmp_path, GOOD.replace(*change)))

    assert any(one.startswith(f"lumni.yaml:{line}:") for one in caught.value.lines)


def test_the_week_begins_on_monday_and_days_at_midnight_utc() -> None:
    late_on_sunday = datetime.fromisoformat("2026-11-22T23:30:00-05:00")

    names = [budgets.token(period, late_on_sunday) for period in Period]

    assert ["day:2026-11-23", "week:2026-11-23", "month:2026-11", "total"] == names
    assert "week:2026-11-16" == budgets.token(Period.WEEK, datetime(2026, 11, 22, tzinfo=UTC))
