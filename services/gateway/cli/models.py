"""lumni models: what is known of each model, from where, and how sure it is."""

from collections import Counter
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from services.gateway.cli.client import Gateway
from services.gateway.cli.output import show, table

# Who answers for a score, the surest first, and in words.
PUBLISHERS = {
    "measured_here": "measured here",
    "operator": "lumni.yaml",
    "independent": "independent",
    "maker": "its maker",
    None: "imputed",
}
COLUMNS = (
    ("MODEL", "model"),
    ("OF", "owned_by"),
    ("USD PER MTOK, IN", "input"),
    ("OUT", "output"),
    ("MEASURED HERE", "measured_here"),
    ("LUMNI.YAML", "operator"),
    ("INDEPENDENT", "independent"),
    ("ITS MAKER", "maker"),
    ("IMPUTED", "imputed"),
    ("NEWEST", "newest"),
    ("SURE TO", "sure"),
)
SCORES = (
    ("SCORE OF", "name"),
    ("PERCENT", "score"),
    ("SURE TO", "sure"),
    ("BY", "by"),
    ("PUBLISHED", "published"),
    ("SOURCE", "source"),
)
AUTO = "auto"


def models(
    name: Annotated[str | None, typer.Argument(help="a model; all of them when left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all that the gateway answers, as JSON")] = False,
) -> None:
    """What is known of each model, from where, and how sure it is; of one model every score."""
    answer = Gateway()("GET", f"/v1/models/{quote(name, safe='')}" if name else "/v1/models")
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
    elif name:
        show(table([_score(one) for one in answer.get("lumni", {}).get("benchmarks", [])], SCORES))
    else:
        listed = [one for one in answer["data"] if one["id"] != AUTO]
        show(
            table([_model(one) for one in listed], COLUMNS),
            "",
            "Numbers of scores by who answers for them; SURE TO is the middle of their errors, in percent points.",
        )


def _model(one: dict[str, Any]) -> dict[str, Any]:
    known = one.get("lumni", {})
    scores = known.get("benchmarks", [])
    counts = Counter(score.get("by") or "imputed" for score in scores)
    errors = sorted(score["uncertainty"] for score in scores if "uncertainty" in score)
    dates = [score.get("published", "") for score in scores if score.get("by") in ("independent", "maker")]
    return {
        "model": one["id"],
        "owned_by": one["owned_by"],
        "input": known.get("input_usd_per_mtok"),
        "output": known.get("output_usd_per_mtok"),
        **counts,
        "newest": max(dates, default=""),
        "sure": f"±{errors[len(errors) // 2]:.0f}" if errors else "",
    }


def _score(one: dict[str, Any]) -> dict[str, Any]:
    return {
        **one,
        "by": PUBLISHERS[one.get("by")],
        "sure": f"±{one['uncertainty']:.0f}" if "uncertainty" in one else "",
    }
