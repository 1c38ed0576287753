"""lumni rollout: how far gradual routing is, and other shares; `lumni experiments` makes, starts and promotes it."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from services.gateway.cli.client import Gateway
from services.gateway.cli.output import facts, show, table

PATH = "/admin/experiments"
COLUMNS = (
    ("VARIANT", "name"),
    ("REQUESTS", "requests"),
    ("ERRORS", "errors"),
    ("LATENCY MS", "latency"),
    ("COST USD", "cost"),
)
# The metrics of the results, by the column, with the digits that are shown.
METRICS = (("errors", "error_share", 4), ("latency", "latency_ms", 1), ("cost", "cost_usd", 6))

Name = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="a name or an id")]

app = typer.Typer(no_args_is_help=True)


@app.command()
def status(experiment: Name) -> None:
    """Show the share of the variant, and how both fare since the start."""
    gateway = Gateway()
    row = gateway("GET", f"{PATH}/{experiment}")
    _show(row)
    found = gateway("GET", f"{PATH}/{experiment}/results")
    rows = [
        {"name": one["name"], "requests": one["requests"]}
        | {column: _mean(one[metric]["mean"], digits) for column, metric, digits in METRICS}
        for one in found["variants"]
    ]
    show("", table(rows, COLUMNS))


@app.command("set")
def set_share(
    experiment: Name, share: Annotated[int, typer.Argument(help="of the keys, in %", min=0, max=100)]
) -> None:
    """Give the variant another share of the keys."""
    _show(Gateway()("POST", f"{PATH}/{experiment}/share", json={"share": share}))


@app.command()
def stop(experiment: Name) -> None:
    """End it: all is as before."""
    _show(Gateway()("POST", f"{PATH}/{experiment}/stop"))


def _show(row: dict[str, Any]) -> None:
    known = {"name": row["name"], "state": row["state"]}
    if row["rollout"] is not None:
        progress = row["rollout"]
        known |= {
            "share": f"{progress['share']} %",
            "since": datetime.fromtimestamp(progress["since"], UTC).isoformat(timespec="seconds"),
            "good": progress["good"],
            "held": progress["held"],
        }
    show(facts(known))


def _mean(mean: float | None, digits: int) -> str | None:
    return None if mean is None else f"{mean:.{digits}f}"
