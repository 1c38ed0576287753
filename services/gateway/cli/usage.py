"""lumni usage: what was used and what it cost."""

from typing import Annotated, Any

import typer

from services.gateway.cli.client import Gateway
from services.gateway.cli.output import show, table

NUMBERS = (
    ("REQUESTS", "requests"),
    ("PROMPT", "prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("COST USD", "cost_usd"),
    ("PER REQUEST", "cost_per_request_usd"),
    ("MEAN MS", "mean_latency_ms"),
)


def usage(
    by: Annotated[
        str, typer.Option(help="day, hour, model, provider, category, tier, plan, key, user ...")
    ] = "model",
    user_id: Annotated[
        str | None,
        typer.Option("--user", help="one user; the only choice with a key that is no admin's"),
    ] = None,
    key_id: Annotated[str | None, typer.Option("--key")] = None,
    organization_id: Annotated[str | None, typer.Option("--organization")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="a date or moment; 30 days ago when left out")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="a date or moment, excluded; now when left out")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="as CSV")] = False,
) -> None:
    """What was used and what it cost."""
    gateway = Gateway()
    params = {"group_by": by, "from": since, "to": until, "format": "csv" if as_csv else "json"}
    if gateway.is_admin or not user_id:
        path = "/admin/usage"
        params |= {"user_id": user_id, "key_id": key_id, "organization_id": organization_id}
    else:
        path = f"/usage/{user_id}"
    answer = gateway("GET", path, params={name: value for name, value in params.items() if value})
    if as_csv:
        typer.echo(answer, nl=False)
    else:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    groups = [(name.upper(), name) for name in answer["group_by"]]
    total = {**answer["total"], **({groups[0][1]: "all"} if groups else {})}
    show(table([*answer["data"], total] if groups else [total], [*groups, *NUMBERS]))
    saved = answer["savings"]
    if saved["saved_share"] is not None:
        show(
            f"\nThe most powerful allowed models would have cost {saved['most_powerful_usd']:.6f} USD: "
            f"{saved['saved_usd']:.6f} USD ({saved['saved_share']:.0%}) saved."
        )
