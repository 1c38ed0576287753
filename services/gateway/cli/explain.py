"""A decision as a person reads it: what was asked, who may answer, and what each part of a score counted."""

from collections.abc import Mapping
from typing import Any

from services.gateway.cli.tables import facts, table


def explained(decision: Mapping[str, Any]) -> str:
    """The answer of POST /v1/route, as text."""
    asked, chosen = decision["classification"], decision["selection"]
    shown = {
        "tier": f"{chosen['tier'] or 'undecided'} (score {asked['strong_win_rate']}, {_split(chosen)})",
        "category": " / ".join(word for word in (asked["category"], asked["subject"]) if word) or "undecided",
        "language": asked["language"],
        "confidence": asked["confidence"],
        "strategy": chosen["strategy"],
        "reason": chosen["reason"],
    }
    if decision["degraded"]:
        shown["without"] = ", ".join(decision["degraded"])
    sections = [facts(shown)]
    if asked["factors"]:
        columns = (("FACTOR", "name"), ("VALUE", "value"), ("LOG-ODDS", "contribution"))
        sections.append(table(asked["factors"], columns))
    sections.append(_candidates(chosen["candidates"]))
    sections += [
        f"{name} removed {', '.join(models)}\n" for name, models in chosen["removed"].items() if models
    ]
    return "\n".join(sections)


def _split(chosen: Mapping[str, Any]) -> str:
    """0 is no threshold of a policy's."""
    return f"threshold {chosen['threshold']}" if chosen["threshold"] else "by the classifier's own threshold"


def _candidates(candidates: list[dict[str, Any]]) -> str:
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
