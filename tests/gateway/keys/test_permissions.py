"""What a key's row, its owners and its plan add up to."""

from typing import Any

import pytest

from services.chassis.errors import Forbidden, Invalid
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Plan, Plans, Rate
from services.gateway.keys.permissions import Caller, Subject, as_if, from_row, without_row

PLUS = Plan("plus", rate=Rate(rpm=100, tpm=1000, parallel=5), budget=Budget(50, Period.DAY))
PRO = Plan("pro")
PLANS = Plans({"plus": PLUS, "pro": PRO}, PLUS, PRO)


def a_row(**more: Any) -> dict[str, Any]:
    """A key that leaves everything to its plan, of no user and no organization."""
    limits = {
        f"{scope}_{name}": None for scope in ("user", "organization") for name in ("rpm", "tpm", "parallel")
    }
    return {
        "key_id": "k1",
        "plan": "plus",
        "models": [],
        "metadata": {},
        "powerful_share": None,
        "store_prompts": None,
        "expires_at": None,
        "budget_period": "month",
        **dict.fromkeys(("user_id", "organization_id", "rpm_limit", "tpm_limit", "parallel_limit")),
        **dict.fromkeys(("budget_nano_usd", "user_budget", "user_period")),
        **dict.fromkeys(("organization_budget", "organization_period")),
        **limits,
        **more,
    }


def test_what_a_row_leaves_open_is_the_plans() -> None:
    caller = from_row(a_row(), PLANS)

    assert (Subject("key:k1", PLUS.rate, PLUS.budget),) == caller.subjects
    assert ("", "", "key:k1") == (caller.user_id, caller.organization_id, caller.tenant)


def test_what_a_row_says_itself_counts_and_zero_is_no_limit() -> None:
    row = a_row(rpm_limit=0, tpm_limit=7, budget_nano_usd=9, budget_period="week")

    caller = from_row(row, PLANS)

    assert (Subject("key:k1", Rate(0, 7, 5), Budget(9, Period.WEEK)),) == caller.subjects


def test_a_key_counts_for_its_user_and_its_organization_whose_plan_is_none() -> None:
    row = a_row(
        user_id="ann", organization_id="acme", user_rpm=3, organization_budget=8, organization_period="total"
    )

    caller = from_row(row, PLANS)

    assert (
        Subject("user:ann", Rate(rpm=3)),
        Subject("organization:acme", Rate(), Budget(8, Period.TOTAL)),
    ) == caller.subjects[1:]
    assert "organization:acme" == caller.tenant


@pytest.mark.parametrize("plan", [True, False])
@pytest.mark.parametrize("key", [True, False, None])
def test_texts_are_kept_only_where_plan_and_key_allow_it(plan: bool, key: bool | None) -> None:
    ours = Plan("ours", store_prompts=plan)
    plans = Plans({"ours": ours}, ours, ours)

    assert (plan and key is not False) is from_row(a_row(plan="ours", store_prompts=key), plans).store_prompts
    assert plan is without_row("bootstrap", ours, is_admin=False).store_prompts


def test_a_plan_that_is_gone_forbids() -> None:
    with pytest.raises(Forbidden) as caught:
        from_row(a_row(plan="old"), PLANS)

    assert "PLAN_UNKNOWN" == caught.value.reason


def test_a_configured_key_has_the_plan_as_it_is() -> None:
    caller = without_row("bootstrap", PLUS, is_admin=False)

    assert (Subject("key:bootstrap", PLUS.rate, PLUS.budget),) == caller.subjects
    assert ("bootstrap", "user:bootstrap", False) == (caller.user_id, caller.tenant, caller.is_admin)


def test_another_plan_is_looked_through_only_by_its_name() -> None:
    admin = Caller("k1", PLUS, powerful_share=0.5, is_admin=True)

    assert admin is as_if(admin, "", PLANS)
    assert Caller("k1", PRO, is_admin=True) == as_if(admin, "pro", PLANS)
    with pytest.raises(Invalid, match="known: plus, pro"):
        as_if(admin, "gold", PLANS)


def test_only_admins_learn_which_plans_there_are() -> None:
    caller = Caller("k1", PLUS, powerful_share=0.5)

    assert Caller("k1", PLUS) == as_if(caller, "plus", PLANS)
    for other in ("pro", "gold"):
        with pytest.raises(Invalid) as caught:
            as_if(caller, other, PLANS)
        assert f"lumni.plan: there is no plan {other!r}; known: plus" == caught.value.message
