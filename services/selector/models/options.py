"""The `selector:` section of `lumni.yaml`: what an operator can set."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.chassis import eligibility, strategies
from services.chassis.learning import Learning
from services.chassis.strategies import STRATEGIES
from services.chassis.yaml import Section
from services.selector.models.benchmarks import CATEGORIES, WEIGHTS
from services.selector.models.catalog import Override
from services.selector.models.model_names import canonical

TIERS = ("fast", "powerful")
PARTS = (
    "benchmark_ranking",
    "benchmark_score",
    "rate_limit_availability",
    "provider_priority",
    "recent_usage",
    "cost_efficiency",
    "latency",
)
# The capabilities that a model may be given: those that requests need, and one that is only shown.
CAPABILITIES = (*eligibility.CAPABILITIES, "reasoning")

# How much each part counts, by strategy and tier. `balanced` for powerful requests is the documented default; for
# fast ones, benchmarks lend some of their weight to cost and latency, as a floor keeps bad models away already.
_BALANCED = (0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.0)
_BALANCED_FAST = (0.15, 0.15, 0.2, 0.1, 0.1, 0.2, 0.1)
SCORE_WEIGHTS: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("balanced", "powerful"): _BALANCED,
    ("balanced", "fast"): _BALANCED_FAST,
    ("quality", "powerful"): (0.5, 0.4, 0.1, 0.0, 0.0, 0.0, 0.0),
    ("quality", "fast"): (0.4, 0.3, 0.1, 0.0, 0.0, 0.2, 0.0),
    ("cost", "powerful"): (0.1, 0.1, 0.1, 0.0, 0.0, 0.7, 0.0),
    ("cost", "fast"): (0.0, 0.0, 0.1, 0.0, 0.0, 0.9, 0.0),
    ("latency", "powerful"): (0.1, 0.2, 0.1, 0.0, 0.0, 0.0, 0.6),
    ("latency", "fast"): (0.0, 0.1, 0.1, 0.0, 0.0, 0.1, 0.7),
    ("free_first", "powerful"): _BALANCED,
    ("free_first", "fast"): _BALANCED_FAST,
}


@dataclass(frozen=True)
class Options:
    """How the selector decides where the request's policy does not."""

    default_strategy: str = strategies.DEFAULT
    # Where powerful begins: one of the two, or neither for the classifier's own opinion.
    powerful_share: float | None = None
    threshold: float | None = None
    # How many deployments a selection lists at most, fallbacks and free tail not counted.
    candidates: int = 8
    # Fast models reach this share of the best configured model's quality.
    quality_floor: float = 0.7
    # Powerful models cost no more than this: US dollars per million tokens, three of the prompt to one of the answer.
    cost_ceiling: float = 30.0
    recent_window_s: int = 3600
    # True spreads a tenant's load over models, False keeps it on those it used.
    recent_spreads: bool = True
    weights: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=lambda: SCORE_WEIGHTS)
    category_weights: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: WEIGHTS)
    catalog: tuple[Override, ...] = ()
    learning: Learning = field(default_factory=Learning)


def read(section: Section, learning: Learning) -> Options:
    """Read the section, beside what is learnt; mistakes are noted in it, and raised by `Section.finish`."""
    default = Options()
    if "powerful_share" in section and "threshold" in section:
        section.mistake("threshold", "set this or powerful_share, not both")
    recent = section.section("recent_usage")
    return Options(
        default_strategy=section.choice("default_strategy", STRATEGIES, default.default_strategy),
        powerful_share=section.number("powerful_share", None, low=0, high=1),
        threshold=section.number("threshold", None, low=0, high=1),
        candidates=section.integer("candidates", default.candidates, low=1, high=64),
        quality_floor=section.number("quality_floor", default.quality_floor, low=0, high=1),
        cost_ceiling=section.number("cost_ceiling_usd_per_mtok", default.cost_ceiling, low=0),
        recent_window_s=recent.integer("window_s", default.recent_window_s, low=60, high=86_400),
        recent_spreads=recent.choice("prefer", ("unused", "used"), "unused") == "unused",
        weights=_weights(section.section("weights")),
        category_weights=_category_weights(section.section("category_weights")),
        catalog=_catalog(section.section("catalog")),
        learning=learning,
    )


def _weights(section: Section) -> dict[tuple[str, str], tuple[float, ...]]:
    weights = dict(SCORE_WEIGHTS)
    for strategy in STRATEGIES:
        tiers = section.section(strategy)
        for tier in TIERS:
            parts = tiers.section(tier)
            if parts.keys:
                # What a strategy does not name does not count.
                weights[strategy, tier] = tuple(parts.number(part, 0.0, low=0, high=1) for part in PARTS)
                if not any(weights[strategy, tier]):
                    parts.mistake("", "at least one part must count")
    return weights


def _category_weights(section: Section) -> dict[str, Mapping[str, float]]:
    weights = dict(WEIGHTS)
    for category in (*CATEGORIES, "long_context", "multilingual"):
        benchmarks = section.section(category)
        if benchmarks.keys:
            weights[category] = {name: benchmarks.number(name, 0.0, low=0) for name in benchmarks.keys}
    return weights


def _catalog(section: Section) -> tuple[Override, ...]:
    overrides = []
    for name, entry in section.sections():
        capabilities = entry.texts("capabilities")
        for word in set(capabilities) - set(CAPABILITIES):
            entry.mistake("capabilities", f"{word}: expected some of {', '.join(CAPABILITIES)}")
        scores = entry.section("scores")
        overrides.append(
            Override(
                id=canonical(name),
                organization=entry.text("organization", None),
                release=entry.text("release", None),
                context_window=entry.integer("context_window", None, low=0),
                max_output_tokens=entry.integer("max_output_tokens", None, low=0),
                capabilities=frozenset(capabilities) if "capabilities" in entry else None,
                aliases=(name, *entry.texts("aliases")),
                scores={
                    benchmark: percent
                    for benchmark in scores.keys
                    if (percent := scores.number(benchmark, None, low=0, high=100)) is not None
                },
                source=entry.text("source", ""),
            )
        )
    return tuple(overrides)
