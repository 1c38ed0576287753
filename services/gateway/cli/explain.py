"""A decision as a person reads it: what the prompt asks, who may answer, and what each part of a score counted."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from services.gateway.cli.output import facts, table

if TYPE_CHECKING:
    from rich.table import Table


def explained(decision: Mapping[str, Any]) -> "Iterator[str | Table]":
    """The answer of POST /v1/route, as texts and tables."""
    judged, chosen = decision["classification"], decision["selection"]
    shown = {
        "tier": f"{chosen['tier'] or 'undecided'} (score {judged['strong_win_rate']}, {_split(chosen)})",
        "category": " / ".join(word for word in (judged["category"], judged["subject"]) if word)
        or "undecided",
        "language": judged["language"],
        "confidence": judged["confidence"],
        "strategy": chosen["strategy"],
        "reason": chosen["reason"],
    }
    if decision["degraded"]:
        shown["without"] = ", ".join(decision["degraded"])
    yield facts(shown)
    yield ""
    if judged["factors"]:
        columns = (("FACTOR", "name"), ("VALUE", "value"), ("LOG-ODDS", "contribution"))
        yield table(judged["factors"], columns)
        yield ""
    yield _candidates(chosen["candidates"])
    for name, models in chosen["removed"].items():
        if models:
            yield f"\n{name} removed {', '.join(models)}"


def _split(chosen: Mapping[str, Any]) -> str:
    """Where powerful begins; 0 says that the policy sets no threshold."""
    return f"threshold {chosen['threshold']}" if chosen["threshold"] else "by the classifier's own threshold"


def _candidates(candidates: list[dict[str, Any]]) -> "str | Table":
    """A line for each, with the weighted share of every part that counts."""
    parts = [name for name, part in candidates[0]["parts"].items() if part["weight"]]
    rows = [
        {
            **one,
            **{name: round(part["value"] * part["weight"], 3) for name, part in one["parts"].items()},
            "benchmark": _benchmark(one["benchmarks"]),
            "when": "" if one["only_on"] in (None, "any") else f"on {one['only_on']}",
        }
        for one in candidates
    ]
    columns = [
        ("DEPLOYMENT", "deployment"),
        ("SCORE", "score"),
        *((name.replace("_", " ").upper(), name) for name in parts),
        ("QUALITY", "quality"),
        ("AT MOST USD", "max_cost_usd"),
        ("BENCHMARK", "benchmark"),
    ]
    if any(row["when"] for row in rows):
        columns.append(("ONLY", "when"))
    return table(rows, columns)


def _benchmark(benchmarks: list[dict[str, Any]]) -> str:
    if not benchmarks:
        return ""
    first = benchmarks[0]
    about = f" ±{first['uncertainty']:.0f}" if first.get("imputed") else ""
    return f"{first['name']} {first['score']:.1f}{about}"
