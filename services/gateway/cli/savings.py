"""lumni savings: what routing saved, against each way to do without it."""

from typing import Annotated, Any

import orjson
import typer

from services.chassis.money import usd
from services.gateway.cli import moments
from services.gateway.cli.client import Gateway
from services.gateway.cli.output import show, table

AGAINST = {
    "all_powerful": "Against the most powerful model that was permitted for each request",
    "all_fast": "Against the cheapest model that was permitted for each request",
    "pinned": "Against the pinned model, where one was pinned",
}
COLUMNS = (
    ("CATEGORY", "category"),
    ("REQUESTS", "requests"),
    ("CACHED TOKENS", "cached_tokens"),
    ("COST USD", "cost_usd"),
    ("WOULD HAVE COST", "counterfactual_usd"),
    ("SAVED USD", "saved_usd"),
    ("SAVED SHARE", "saved_share"),
    ("QUALITY", "measured"),
    ("ITS QUALITY", "other"),
)
NOT_KNOWN = "not known"


def savings(
    since: Annotated[str, typer.Option(help="how long ago, such as 30d, or a date")] = "30d",
    until: Annotated[str | None, typer.Option(help="the end, excluded; now when left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all that the gateway answers, as JSON")] = False,
) -> None:
    """What routing saved: at list price for the same tokens, by category and in all."""
    params = {"from": moments.iso("--since", since), "to": moments.iso("--until", until) if until else None}
    answer = Gateway()("GET", "/admin/savings", params={name: one for name, one in params.items() if one})
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
        return
    measured = answer["measured_quality"]
    for name, heading in AGAINST.items():
        found = answer["against"][name]
        rows = [*found["by_category"], {"category": "all", **found["total"]}] if found["by_category"] else []
        show(f"{heading}:", table([_row(one, measured) for one in rows], COLUMNS), "")
    bounds, fees, by_unit = (
        usd(answer[f"{name}_nano_usd"]) for name in ("without_answer", "fees", "without_tokens")
    )
    show(
        f"Answers from the cache saved {answer['cache_saved_usd']:.9f} USD. The ledger has "
        f"{answer['ledger_usd']:.9f} USD in all; of these {bounds:.9f} USD are bounds of attempts without an answer, "
        f"{fees:.9f} USD were billed beside tokens, and {by_unit:.9f} USD are {answer['without_tokens']} answers "
        "without tokens; none of these is compared.",
        "What it would have cost is at list price for the same tokens, without discounts for prompts that a provider "
        "had cached. Quality is the mean verdict of users, from -10 to 10.",
    )


def _row(one: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    known = measured.get(one["category"])
    other = NOT_KNOWN if one["quality"] is None else f"{one['quality']:.2f} of {one['quality_known_for']:.0%}"
    return {**one, "measured": f"{known['mean']:.2f}" if known else NOT_KNOWN, "other": other}
