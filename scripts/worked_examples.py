"""Write the worked examples of docs/routing.md, so that they stay true.

    .venv/bin/python scripts/worked_examples.py

A small fleet at list prices answers ten requests; every number comes from the committed catalog and price table.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.chassis import prices
from services.chassis.candidates import OnlyOn
from services.chassis.deployments import Deployment, Fleet, FreeQuota
from services.chassis.eligibility import Policy, Requirements
from services.chassis.errors import Fault
from services.selector.live import snapshot
from services.selector.live.snapshot import Headroom, Report
from services.selector.models import catalog
from services.selector.models.deployment_table import DeploymentTable
from services.selector.models.options import Options
from services.selector.ranking import rank
from services.selector.ranking.select import Preferences, Selection, Selector, Task

DOCUMENT = Path(__file__).parent.parent / "docs" / "routing.md"
BEGIN, END = "<!-- worked examples: scripts/worked_examples.py -->", "<!-- end of worked examples -->"
NOW = 1_800_000_000.0
MODELS = (
    ("opus", "anthropic", "claude-opus-4-5", None),
    ("gpt-5", "openai", "gpt-5", None),
    ("flash", "gemini", "gemini-2.5-flash", None),
    ("mini", "openai", "gpt-4o-mini", None),
    ("oss", "groq", "openai/gpt-oss-120b", FreeQuota(rpm=30, rpd=1000)),
    ("llama", "together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", None),
)
SHORT = {
    "benchmark_ranking": "ranking",
    "benchmark_score": "score",
    "rate_limit_availability": "available",
    "provider_priority": "priority",
    "recent_usage": "recent",
    "cost_efficiency": "cost",
    "latency": "latency",
}


@dataclass(frozen=True)
class Example:
    """One request in one moment."""

    title: str
    task: Task = field(default_factory=lambda: Task("code"))
    requirements: Requirements = field(
        default_factory=lambda: Requirements(prompt_tokens=600, output_tokens=1000)
    )
    policy: Policy = field(default_factory=Policy)
    preferences: Preferences = field(default_factory=lambda: Preferences(seed="1", now_unix_s=NOW))
    reports: tuple[Report, ...] = ()


EXAMPLES = (
    Example("A powerful request for code"),
    Example("The same, but the classifier says a fast model will do", task=Task("code", powerful=False)),
    Example("A powerful problem in mathematics", task=Task("math")),
    Example("Small talk", task=Task("chat", powerful=False)),
    Example("Quality at any price", preferences=Preferences(strategy="quality", seed="1", now_unix_s=NOW)),
    Example(
        "As cheap as possible",
        task=Task("summarization", powerful=False),
        preferences=Preferences(strategy="cost", seed="1", now_unix_s=NOW),
    ),
    Example(
        "As quick as possible",
        task=Task("chat", powerful=False),
        preferences=Preferences(strategy="latency", seed="1", now_unix_s=NOW),
        reports=(Report("flash", latency_ms=250.0), Report("opus", latency_ms=2000.0)),
    ),
    Example(
        "A prompt of 150,000 tokens with a picture",
        requirements=Requirements(prompt_tokens=150_000, output_tokens=1000, capabilities=("vision",)),
        task=Task("extraction", long_context=True),
    ),
    Example(
        "The best model has a fifth of its minute left, and its breaker is half-open",
        reports=(Report("gpt-5", half_open=True, headroom=(Headroom("rpm", 50, 10, NOW + 30),)),),
    ),
    Example(
        "A pinned model whose breaker is open",
        preferences=Preferences(model="gpt-5", seed="1", now_unix_s=NOW),
        reports=(Report("gpt-5", breaker_open=True),),
    ),
)


def selector() -> Selector:
    deployments = []
    for name, provider, model, quota in MODELS:
        listing = prices.listing(provider, model)
        assert listing is not None, f"{provider}/{model} has no list price any more"
        deployments.append(
            Deployment(
                id=name,
                model=name,
                provider=provider,
                litellm_model=model,
                price=listing.price,
                context_window=listing.context_window,
                max_output_tokens=listing.max_output_tokens,
                capabilities=listing.capabilities,
                free_quota=quota,
            )
        )
    fleet = Fleet(
        deployments=tuple(deployments),
        fallbacks={"gpt-5": ("opus", "oss")},
    )
    known = catalog.load()
    return Selector(DeploymentTable(fleet, known, Options()), known)


def rendered() -> str:
    chosen = selector()
    return "\n".join(
        ["", *(line for n, one in enumerate(EXAMPLES, 1) for line in example(chosen, n, one)), ""]
    )


def example(chosen: Selector, number: int, one: Example) -> Iterator[str]:
    reports = {name: Report(name, latency_ms=1000.0) for name, *_ in MODELS}
    reports |= {report.deployment: report for report in one.reports}
    moment = snapshot.merge(chosen.table, [[*reports.values()]], NOW)
    yield f"### {number}. {one.title}"
    yield ""
    yield question(one)
    yield ""
    try:
        selection = chosen.select(one.task, one.requirements, one.policy, one.preferences, moment)
    except Fault as fault:
        yield f"Refused: {fault.message}"
        return
    for removal in selection.removals:
        yield f"Filter `{removal.filter}` removes {', '.join(removal.models)}."
        yield ""
    yield from ranked_table(chosen, selection)
    yield ""
    yield arithmetic(chosen, one, selection)
    yield ""


def question(one: Example) -> str:
    tier = "powerful" if one.task.powerful else "fast"
    parts = [
        f"Category {one.task.category}{', long context' if one.task.long_context else ''}",
        f"tier {tier}",
        f"strategy {one.preferences.strategy or 'balanced'}",
        f"{one.requirements.prompt_tokens:,} prompt tokens",
    ]
    if one.requirements.capabilities:
        parts.append(f"needs {', '.join(one.requirements.capabilities)}")
    if one.preferences.model:
        parts.append(f"pins {one.preferences.model}")
    return "; ".join(parts) + "."


def ranked_table(chosen: Selector, selection: Selection) -> Iterator[str]:
    weights = dict(zip(SHORT, selection.scores.weights, strict=True))
    counted = [name for name, weight in weights.items() if weight]
    yield "| | score | " + " | ".join(f"{SHORT[name]} x {weights[name]:.2f}" for name in counted) + " |"
    yield "| --- |" + " --- |" * (len(counted) + 1)
    for candidate in selection.candidates:
        values = {name: value for name, value, _ in rank.parts_of(selection.scores, candidate.index)}
        name = chosen.table.deployments[candidate.index].model
        marked = name if candidate.only_on is OnlyOn.ANY else f"{name} (on {candidate.only_on.value})"
        score = selection.scores.score[candidate.index]
        yield f"| {marked} | {score:.3f} | " + " | ".join(f"{values[part]:.3f}" for part in counted) + " |"


def arithmetic(chosen: Selector, one: Example, selection: Selection) -> str:
    """How the first candidate's score comes about, from the catalog's and the price table's numbers."""
    index = selection.candidates[0].index
    table = chosen.table
    entry = table.entries[index]
    assert entry is not None
    weights = table.weights_of(one.task.category, long_context=one.task.long_context, multilingual=False)
    sums = []
    for name, weight in weights.items():
        score = entry.scores[name]
        value = f"({score.percent:g} - {score.uncertainty:g})" if score.uncertainty else f"{score.percent:g}"
        sums.append(f"{weight:.3f} x {name} {value}")
    tokens = one.requirements.prompt_tokens
    answer = min(one.requirements.output_tokens, rank.EXPECTED_OUTPUT)
    paid = (tokens * table.input_price[index] + answer * table.output_price[index]) / (tokens + answer)
    model = table.deployments[index].model
    return (
        f"{model}: score = ({' + '.join(sums)}) / 100 = {selection.ranking.quality[index]:.3f}; "
        f"price = ({tokens:,} x {table.input_price[index]:g} + {answer} x {table.output_price[index]:g}) / "
        f"{tokens + answer:,} = {paid:.3f} USD per million tokens, so cost = 1 / (1 + {paid:.3f}) = "
        f"{1 / (1 + paid):.3f}."
    )


def main() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + "\n" + rendered() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
