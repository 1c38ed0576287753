"""lumni replay: what requests of the past would have cost by another configuration, and which models would answer."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.gateway.cli import moments
from services.gateway.cli.client import Gateway, RefusedError
from services.gateway.cli.output import show, table

# What the gateway takes at most for a replay, and some more, in seconds.
TIMEOUT_S = 90.0
NUMBERS = (
    ("REQUESTS", "requests"),
    ("OTHER MODEL", "answered_by_another_model"),
    ("THEN USD", "then_usd"),
    ("NOW USD", "now_usd"),
    ("DIFFERENCE", "difference_usd"),
    ("FROM", "difference_low_usd"),
    ("TO", "difference_high_usd"),
    ("POWERFUL THEN", "powerful_share_then"),
    ("NOW", "powerful_share_now"),
    ("QUALITY THEN", "quality_then"),
    ("NOW", "quality_now"),
)


def replay(
    since: Annotated[str, typer.Option(help="how long ago, such as 7d, or a date")] = "7d",
    until: Annotated[str | None, typer.Option(help="the end, excluded; now when left out")] = None,
    config: Annotated[Path | None, typer.Option(help="another lumni.yaml")] = None,
    litellm: Annotated[Path | None, typer.Option(help="another litellm_config.yaml")] = None,
    prices: Annotated[
        Path | None, typer.Option(help="prices by model in LiteLLM's words, in US dollars per token")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(help="the share of powerful requests, 0 to 1, where plan or default decides"),
    ] = None,
    classifier_version: Annotated[
        str | None,
        typer.Option(help="the version of the classifier that answers; it must have been the shadow then"),
    ] = None,
    plan: Annotated[str | None, typer.Option(help="only requests of this plan")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all that the gateway answers, as JSON")] = False,
) -> None:
    """What requests of the past would have cost by another configuration, and which models would answer."""
    asked: dict[str, Any] = {
        "from": moments.iso("--since", since),
        "to": moments.iso("--until", until) if until else None,
        "plan": plan,
        "lumni_yaml": _text(config),
        "litellm_yaml": _text(litellm),
        "prices_yaml": _text(prices),
        "powerful_share": share,
        "classifier_version": classifier_version,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    answer = Gateway()("POST", "/admin/replay", json=asked, timeout=TIMEOUT_S)
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
        return
    for group, rows in answer["by"].items():
        if rows:
            show(table(rows, [(group.upper(), group), *NUMBERS]), "")
    total = answer["total"]
    models = {**total["models_then"], **total["models_now"]}
    shares = [
        {
            "model": name,
            "then": total["models_then"].get(name, 0.0),
            "now": total["models_now"].get(name, 0.0),
        }
        for name in models
    ]
    show(table(shares, [("MODEL", "model"), ("THEN", "then"), ("NOW", "now")]), "")
    for one in answer["not_replayed"]:
        show(f"{one['requests']:,} not replayed: {one['reason']}")
    show(answer["sentence"], f"Intervals: {answer['interval']['level']:.0%}, {answer['interval']['method']}.")


def _text(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{file}: cannot be read: {error}") from error
