"""What the holder of a key may do: the plan, and what the key, its user and its organization say otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.chassis import errors
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Plan, Plans, Rate

UNLIMITED = Rate()
# Who holds the two keys that are configured and have no row in the database.
ADMIN = "admin"
BOOTSTRAP = "bootstrap"
# What the key ids of mirrors begin with, so that no row of the ledger is taken for a caller's.
MIRROR = "mirror:"
# The user of the keys that `lumni evaluate` and `lumni judge` make for themselves.
EVALUATION = "lumni-evaluate"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose requests, tokens and money are counted: `key:ID`, `user:ID` or `organization:ID`."""

    name: str
    rate: Rate = UNLIMITED
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, and what they may do. A text is empty where a key has none."""

    key_id: str
    plan: Plan
    user_id: str = ""
    organization_id: str = ""
    # Separates what may never be shared: caches, counters, sticky choices.
    tenant: str = ""
    # The models this key is limited to, by name; empty is all of the plan's.
    models: tuple[str, ...] = ()
    subjects: tuple[Subject, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    # The share of this key's requests that may go to powerful models; None is the plan's.
    powerful_share: float | None = None
    # Whether prompts and answers may be kept, where the operator keeps them: the plan and the key must allow it.
    store_prompts: bool = True
    is_admin: bool = False
    # Seconds since 1970; None never expires.
    expires_at: float | None = None

    @property
    def is_evaluation(self) -> bool:
        """Whether an evaluation or a judge asks: what any users wrote, of the models that it names alone."""
        return self.user_id == EVALUATION

    @property
    def has_budget(self) -> bool:
        """Whether what a request costs must be known before it is made."""
        return any(subject.budget is not None for subject in self.subjects)


def without_row(name: str, plan: Plan, *, is_admin: bool) -> Caller:
    """The holder of a key that is configured and has no row in the database: the plan, as it is."""
    return Caller(
        key_id=name,
        user_id=name,
        tenant=f"user:{name}",
        plan=plan,
        subjects=(Subject(f"key:{name}", plan.rate, plan.budget),),
        store_prompts=plan.store_prompts,
        is_admin=is_admin,
    )


def from_row(row: Mapping[str, Any], plans: Plans) -> Caller:
    """The holder of a stored key; what its row leaves open is the plan's.

    Args:
        row: The key, and the limits and budgets of its user and its organization.
        plans: What plans grant.

    Raises:
        Forbidden: its plan is not configured any more.
    """
    plan = plans.by_name.get(row["plan"])
    if plan is None:
        raise errors.Forbidden(
            f"the plan {row['plan']!r} of this key is not configured any more", reason="PLAN_UNKNOWN"
        )
    user, organization = row["user_id"] or "", row["organization_id"] or ""
    rate = Rate(
        rpm=_or(row["rpm_limit"], plan.rate.rpm),
        tpm=_or(row["tpm_limit"], plan.rate.tpm),
        parallel=_or(row["parallel_limit"], plan.rate.parallel),
    )
    budget = _budget(row["budget_nano_usd"], row["budget_period"]) or plan.budget
    subjects = [Subject(f"key:{row['key_id']}", rate, budget)]
    subjects += [
        Subject(
            f"{scope}:{name}",
            Rate(row[f"{scope}_rpm"] or 0, row[f"{scope}_tpm"] or 0, row[f"{scope}_parallel"] or 0),
            _budget(row[f"{scope}_budget"], row[f"{scope}_period"]),
        )
        for scope, name in (("user", user), ("organization", organization))
        if name
    ]
    return Caller(
        key_id=row["key_id"],
        plan=plan,
        user_id=user,
        organization_id=organization,
        tenant=subjects[-1].name,
        models=tuple(row["models"]),
        subjects=tuple(subjects),
        metadata=row["metadata"],
        powerful_share=row["powerful_share"],
        store_prompts=plan.store_prompts and row["store_prompts"] is not False,
        expires_at=row["expires_at"],
    )


def as_if(caller: Caller, plan: str, plans: Plans) -> Caller:
    """The caller as another plan would treat him, for what-if questions; an empty name changes nothing.

    Which plans there are is for admins to know; anybody else may name his own.

    Raises:
        Invalid: there is no such plan that this caller may know of.
    """
    if not plan:
        return caller
    visible = plans.by_name if caller.is_admin else {caller.plan.name: caller.plan}
    other = visible.get(plan)
    if other is None:
        known = ", ".join(sorted(visible))
        raise errors.Invalid(f"lumni.plan: there is no plan {plan!r}; known: {known}", param="lumni.plan")
    return replace(caller, plan=other, powerful_share=None)


def _or(own: int | None, plans: int) -> int:
    return plans if own is None else own


def _budget(limit: int | None, period: str | None) -> Budget | None:
    return None if limit is None else Budget(limit, Period(period or "month"))
