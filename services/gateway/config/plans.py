"""Plans: what a key may do where it has no limits of its own. Read from `config/lumni.yaml`.

A model is reachable only through an access group that the plan names, so no plan reaches a provider's new model by
accident.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from services.chassis import bounds, learning, lumni_config, money, strategies
from services.chassis.hosted_tools import NOTHING, Allowed
from services.chassis.yaml import Section
from services.gateway.config.budgets import Budget, Period

# No tokenizer of a provider makes a prompt longer than its context window, and none is longer than this.
MOST_TOKENS = 10_000_000
# Beside a tenant of this weight one of weight 1 has a hundredth.
MOST_WEIGHT = 100
# The longest time for which answers are cached, in seconds.
MOST_CACHE_S = 30 * 86_400
# The one tool that a provider runs and a plan may allow.
WEB_SEARCH = "web_search"


class AtLimit(StrEnum):
    """What becomes of a request that no budget covers."""

    REFUSE = "refuse"
    FREE = "free"


class WithoutRedis(StrEnum):
    """What becomes of a request while Redis cannot count it."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests, tokens and parallel requests; per minute where that makes sense; 0 is no limit."""

    rpm: int = 0
    tpm: int = 0
    parallel: int = 0

    @property
    def limited(self) -> bool:
        """Whether anything is limited at all."""
        return bool(self.rpm or self.tpm or self.parallel)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a key may do. Tokens of one request: 0 is no limit, except for the output cap."""

    name: str
    rate: Rate = Rate()
    # A tenant's share of what the gateway can work on at once, beside others and while there is not enough for all.
    concurrency_weight: int = 1
    # The output that is assumed, and injected, when a caller sets no limit.
    max_output_tokens: int = 4096
    # The most prompt and output tokens one request may ask for.
    max_request_tokens: int = 0
    access_groups: tuple[str, ...] = ()
    strategy: str = strategies.DEFAULT
    powerful_share: float | None = None
    # The share of requests that may explore, where outcomes are learnt from; None is what `exploration` says.
    exploration_share: float | None = None
    budget: Budget | None = None
    at_limit: AtLimit = AtLimit.REFUSE
    redis_down: WithoutRedis = WithoutRedis.ALLOW
    # What of a provider's own tools and state may be used.
    allowed: Allowed = NOTHING
    # For how many seconds answers may be given again; 0 is never, None what the gateway's settings say.
    cache_ttl_s: int | None = None
    # Whether a question may get the answer to another one that says the same, where the gateway compares them.
    semantic_cache: bool = False
    # Whether prompts and answers may be kept, where the operator keeps them.
    store_prompts: bool = True
    # Whether other models may be asked what these keys asked, where it is kept, to evaluate them.
    evaluate_prompts: bool = False
    # Limits of a key for one model, by the model's public name.
    model_rates: Mapping[str, Rate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plans:
    """All plans, the one for keys without one, and the one of the keys from the environment."""

    by_name: Mapping[str, Plan]
    default: Plan
    bootstrap: Plan


def load(path: Path) -> Plans:
    """Read the plans of `lumni.yaml`; its other sections are other services' business.

    Raises:
        Mistakes: every mistake, with its line.
    """
    root = lumni_config.load(path)
    root.require("plans", "default_plan")
    plans = {name: _plan(name, section) for name, section in root.section("plans").sections()}
    default = _named(root, "default_plan", plans, None)
    bootstrap = _named(root, "bootstrap_plan", plans, default)
    root.finish()
    assert default is not None
    assert bootstrap is not None
    return Plans(plans, default, bootstrap)


def _named(root: Section, key: str, plans: Mapping[str, Plan], otherwise: Plan | None) -> Plan | None:
    name = root.text(key, None)
    if name is None:
        return otherwise
    if name not in plans:
        root.mistake(key, f"there is no plan {name!r}; known: {', '.join(sorted(plans)) or 'none'}")
    return plans.get(name)


def _plan(name: str, section: Section) -> Plan:
    section.require("access_groups")
    groups = section.texts("access_groups")
    if "access_groups" in section and not groups:
        section.mistake("access_groups", "names no group, so no model could be reached")
    if any("*" in group for group in groups):
        section.mistake("access_groups", "a group is named in full; * is no wildcard here")
    models = section.section("models")
    return Plan(
        name=name,
        rate=_rate(section),
        concurrency_weight=section.integer("concurrency_weight", 1, low=1, high=MOST_WEIGHT),
        max_output_tokens=section.integer("max_output_tokens", 4096, low=1, high=MOST_TOKENS),
        max_request_tokens=section.integer("max_request_tokens", 0, low=0, high=MOST_TOKENS),
        access_groups=groups,
        strategy=section.choice("strategy", strategies.STRATEGIES, strategies.DEFAULT),
        powerful_share=section.number("powerful_share", None, low=0, high=1),
        exploration_share=section.number("exploration_share", None, low=0, high=learning.MOST_SHARE),
        budget=_budget(section),
        at_limit=AtLimit(section.choice("at_limit", tuple(AtLimit), AtLimit.REFUSE)),
        redis_down=WithoutRedis(section.choice("redis_down", tuple(WithoutRedis), WithoutRedis.ALLOW)),
        allowed=Allowed(_web_search(section.section("hosted_tools")), section.flag("store", default=False)),
        cache_ttl_s=section.integer("cache_ttl_s", None, low=0, high=MOST_CACHE_S),
        semantic_cache=section.flag("semantic_cache", default=False),
        store_prompts=section.flag("store_prompts", default=True),
        evaluate_prompts=_evaluate_prompts(section),
        model_rates={model: _rate(below) for model, below in models.sections()},
    )


def _rate(section: Section) -> Rate:
    return Rate(
        rpm=section.integer("rpm", 0, low=0),
        tpm=section.integer("tpm", 0, low=0),
        parallel=section.integer("parallel", 0, low=0),
    )


def _web_search(section: Section) -> int:
    """The most searches of the web for one answer; 0 where the plan allows none."""
    for name in section.keys:
        if name != WEB_SEARCH:
            section.plain(name, None)
            section.mistake(
                name,
                f"no provider bounds and counts uses of this tool, so no budget could cover it; known: {WEB_SEARCH}",
            )
    if WEB_SEARCH not in section:
        return 0
    search = section.section(WEB_SEARCH)
    search.require("max_uses")
    return search.integer("max_uses", 0, low=1, high=bounds.MOST_SEARCHES)


def _evaluate_prompts(section: Section) -> bool:
    allowed = section.flag("evaluate_prompts", default=False)
    if allowed and not section.flag("store_prompts", default=True):
        section.mistake("evaluate_prompts", "store_prompts is false, so no prompt of this plan is kept")
    return allowed


def _budget(section: Section) -> Budget | None:
    amount = section.decimal("budget_usd", None, low=0, high=money.LARGEST_USD)
    period = Period(section.choice("budget_period", tuple(Period), Period.MONTH))
    soft = section.number("budget_soft", 0.8, low=0, high=1)
    if amount is None:
        return None
    try:
        return Budget(money.nano(amount), period, soft)
    except ValueError as error:
        section.mistake("budget_usd", str(error))
        return None
