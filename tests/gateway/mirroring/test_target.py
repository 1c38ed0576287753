"""What a target is asked, and on whose behalf: within the mirror's budget, never the caller's."""

from dataclasses import replace

from services.chassis.hosted_tools import Allowed
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import WithoutRedis
from services.gateway.experiments.definition import Variant
from services.gateway.mirroring import target
from services.gateway.mirroring.definition import Mirror
from services.gateway.pipeline import policy
from services.gateway.requests import chat_request
from services.gateway.requests.assignment import Assignment
from tests.gateway.money import TOTAL, caller

BODY = b"""{"model": "gpt-4o", "store": true, "messages": [{"role": "user", "content": "Hi"}],
    "lumni": {"provider": "openai", "denied_regions": ["us"], "max_cost_usd": 1, "threshold": 0.3}}"""
CHAT = chat_request.parse(BODY, allowed=Allowed(store=True))


def mirror(**sets: object) -> Mirror:
    return Mirror("new", 1.0, Variant("target", **sets), 5)  # type: ignore[arg-type]


def test_a_mirror_has_its_own_budget_of_a_day_and_none_of_the_callers() -> None:
    asks = target.caller_of(mirror(), replace(caller(budget=TOTAL), user_id="ann", organization_id="lab"))

    (subject,) = asks.subjects
    assert ("key:mirror:new", Budget(5, Period.DAY), False) == (
        subject.name,
        subject.budget,
        subject.rate.limited,
    )
    assert ("mirror:new", "", "") == (asks.key_id, asks.user_id, asks.organization_id)
    assert asks.plan.redis_down is WithoutRedis.DENY
    assert not asks.store_prompts


def test_another_gateway_is_asked_for_the_same_model_in_another_group() -> None:
    one = mirror(access_groups=("old",))
    asked = target.request_of(one, replace(CHAT, assignment=Assignment("ex", "name", "variant", 1)))

    assert ("gpt-4o", None, False) == (asked.model, asked.assignment, "store" in asked.body)
    permitted = policy.policy(target.caller_of(one, caller()), asked)
    assert ["old"] == list(permitted.access_groups)
    # What a caller denies for privacy holds for the target, too; a wish for a provider does not.
    assert (["us"], "", 0) == (
        list(permitted.denied_regions),
        permitted.provider,
        permitted.max_cost_nano_usd,
    )


def test_a_policy_as_target_stands_above_what_a_request_says_of_its_tier() -> None:
    shared = policy.policy(caller(), target.request_of(mirror(powerful_share=0.2, strategy="cost"), CHAT))
    tiered = policy.policy(caller(), target.request_of(mirror(tier="fast"), CHAT))

    assert (0.2, False, "cost") == (shared.powerful_share, shared.HasField("threshold"), shared.strategy)
    assert (policy.TIERS["fast"], False) == (tiered.tier, tiered.HasField("threshold"))
