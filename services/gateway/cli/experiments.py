"""lumni experiments: describe, start, read and end experiments."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from services.gateway.cli.client import Gateway, RefusedError
from services.gateway.cli.output import facts, show, table

PATH = "/admin/experiments"
PAGE = 1000
COLUMNS = (
    ("NAME", "name"),
    ("STATE", "state"),
    ("GOAL", "goal"),
    ("VARIANTS", "variants"),
    ("STOPPED", "stopped"),
    ("PROMOTED", "promoted"),
    ("STARTED", "started_at"),
)
# The metrics of the results, with the digits that are shown.
METRICS = (
    ("COST USD", "cost_usd", 6),
    ("LATENCY MS", "latency_ms", 1),
    ("ERRORS", "error_share", 4),
    ("FEEDBACK", "feedback", 2),
    ("CACHED", "cached_share", 4),
)

Name = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="a name or an id")]
Variant = Annotated[str, typer.Argument(metavar="VARIANT")]

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def find() -> None:
    """List experiments."""
    gateway = Gateway()
    rows: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = gateway("GET", PATH, params={"after": after, "limit": PAGE})
        rows += page["data"]
        after = page["after"]
    show(table([_row(one) for one in rows], COLUMNS))


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="YAML or JSON, as docs/experiments.md describes it")],
    start: Annotated[bool, typer.Option("--start", help="start it at once")] = False,
) -> None:
    """Make an experiment of a file; requests take part when it is started."""
    try:
        described = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RefusedError(f"{file}: cannot be read: {error}") from error
    gateway = Gateway()
    made = gateway("POST", PATH, json=described)
    _show(gateway("POST", f"{PATH}/{made['experiment_id']}/start") if start else made)


@app.command("show")
def get(experiment: Name) -> None:
    """Print what an experiment is, as a file that `create` takes."""
    definition = Gateway()("GET", f"{PATH}/{experiment}")["definition"]
    typer.echo(yaml.safe_dump(definition, sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def results(experiment: Name) -> None:
    """Show what has been learnt; it may be looked at at any time."""
    found = Gateway()("GET", f"{PATH}/{experiment}/results")
    rows = []
    for one in found["variants"]:
        row = {"name": one["name"], "requests": one["requests"], "units": one["units"]}
        for heading, metric, digits in METRICS:
            row[heading] = _measured(one[metric], digits)
        rows.append(row)
    columns = (
        ("VARIANT", "name"),
        ("REQUESTS", "requests"),
        ("UNITS", "units"),
        *((heading, heading) for heading, _, _ in METRICS),
    )
    show(table(rows, columns), "", found["conclusion"])
    for variant, reason in found["stopped"].items():
        show(f"{variant} was stopped: {reason}")


@app.command()
def start(experiment: Name) -> None:
    """Divide requests from now on."""
    _show(Gateway()("POST", f"{PATH}/{experiment}/start"))


@app.command()
def stop(experiment: Name) -> None:
    """End an experiment: all is as before."""
    _show(Gateway()("POST", f"{PATH}/{experiment}/stop"))


@app.command()
def promote(experiment: Name, variant: Variant) -> None:
    """Give all requests that would take part one variant."""
    _show(Gateway()("POST", f"{PATH}/{experiment}/promote", json={"variant": variant}))


@app.command("roll-back")
def roll_back(experiment: Name) -> None:
    """Take a promotion back: all is as before the experiment."""
    _show(Gateway()("POST", f"{PATH}/{experiment}/roll-back"))


@app.command("stop-variant")
def stop_variant(
    experiment: Name,
    variant: Variant,
    reason: Annotated[str, typer.Option(help="for who reads the history")] = "",
) -> None:
    """Stop one variant; the others go on."""
    _show(Gateway()("POST", f"{PATH}/{experiment}/variants/{variant}/stop", json={"reason": reason}))


@app.command()
def delete(experiment: Name) -> None:
    """Forget a draft, or an experiment that is stopped."""
    Gateway()("DELETE", f"{PATH}/{experiment}")
    show(f"{experiment} is deleted.")


def _row(row: dict[str, Any]) -> dict[str, Any]:
    definition = row["definition"]
    weights = {one["name"]: one["weight"] for one in definition["variants"]}
    return {**row, "goal": definition["goal"], "variants": weights, "stopped": list(row["stopped"])}


def _show(row: dict[str, Any]) -> None:
    names = ("experiment_id", "name", "state", "goal", "variants", "stopped", "promoted")
    shown = _row(row)
    show(facts({name: shown[name] for name in names}))


def _measured(metric: dict[str, Any], digits: int) -> str | None:
    """A mean, with the interval that the truth is in."""
    if metric["mean"] is None:
        return None
    mean = f"{metric['mean']:.{digits}f}"
    if metric["interval"] is None:
        return mean
    low, high = (f"{end:.{digits}f}" for end in metric["interval"])
    return f"{mean} ({low} to {high})"
