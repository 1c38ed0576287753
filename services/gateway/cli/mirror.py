"""lumni mirror: how a second target does with a share of the requests."""

from typing import Annotated, Any

import orjson
import typer

from services.gateway.cli import moments
from services.gateway.cli.client import Gateway
from services.gateway.cli.output import show, table

PATH = "/admin/mirrors"
# What the gateway takes at most for a report, and some more, in seconds.
TIMEOUT_S = 60.0
COLUMNS = (
    ("NAME", "name"),
    ("SHARE", "share"),
    ("TARGET", "target"),
    ("BUDGET USD", "budget_usd"),
    ("SPENT TODAY USD", "spent_today_usd"),
    ("COMPARED TODAY", "compared_today"),
)
# The metrics of a report, with the digits that are shown.
METRICS = (
    ("error_share", 4),
    ("latency_ms", 1),
    ("first_ms", 1),
    ("cost_usd", 6),
    ("json_valid_share", 4),
    ("refused_share", 4),
    ("grade", 2),
    ("characters", 1),
    ("finish_equal_share", 4),
    ("tools_equal_share", 4),
    ("similarity", 3),
)

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def find() -> None:
    """List the mirrors that are configured, with what they did since midnight UTC."""
    show(table(Gateway()("GET", PATH)["data"], COLUMNS))


@app.command()
def report(
    mirror: Annotated[str, typer.Argument(metavar="MIRROR", help="its name in lumni.yaml")],
    since: Annotated[str, typer.Option(help="how long ago, such as 7d, or a date")] = "7d",
    until: Annotated[str | None, typer.Option(help="the end, excluded; now when left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all that the gateway answers, as JSON")] = False,
) -> None:
    """Compare the answers, latency and cost of a mirror's target with what callers got."""
    span = {"from": moments.iso("--since", since), "to": moments.iso("--until", until) if until else None}
    params = {name: value for name, value in span.items() if value is not None}
    found = Gateway()("GET", f"{PATH}/{mirror}/report", params=params, timeout=TIMEOUT_S)
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    for group in found["groups"]:
        rows = [
            _row(name, group["metrics"][name], digits) for name, digits in METRICS if name in group["metrics"]
        ]
        heading = group["group"].upper() if not group["name"] else f"{group['group'].upper()} {group['name']}"
        columns = (
            (heading, "metric"),
            ("REQUESTS", "requests"),
            ("CALLERS", "own"),
            ("TARGET", "target"),
            ("DIFFERENCE", "difference"),
        )
        show(table(rows, columns), "")
    show(found["sentence"])


def _row(name: str, metric: dict[str, Any], digits: int) -> dict[str, Any]:
    own, target = (f"{metric[side]:.{digits}f}" for side in ("own_mean", "target_mean"))
    known = metric["difference"]
    difference = None if known is None else " to ".join(f"{end:+.{digits}f}" for end in known)
    return {
        "metric": name,
        "requests": metric["requests"],
        "own": own,
        "target": target,
        "difference": difference,
    }
