"""lumni learned and lumni judge: what outcomes have taught, and a judge on a share of the answers."""

import asyncio
from typing import Annotated, Any

import typer

from services.chassis import config
from services.chassis.money import nano
from services.gateway.cli import moments, own_key
from services.gateway.cli.client import Gateway, RefusedError, Settings
from services.gateway.cli.output import show, table

OUTCOMES = (
    ("CATEGORY", "category"),
    ("LEVEL", "level"),
    ("MODEL", "model"),
    ("LIKED", "liked"),
    ("OF", "counted"),
    ("SHARE", "share"),
    ("COUNTS AS", "weight"),
    ("NEWEST", "last_on"),
)
COMPARISONS = (
    ("CATEGORY", "category"),
    ("OUTCOMES", "counted"),
    ("MORE LIKED", "mean"),
    ("FROM", "low"),
    ("TO", "high"),
    ("MAY ACT", "may_act"),
)


def learned() -> None:
    """What outcomes have taught of each model, and where that may act."""
    found = Gateway()("GET", "/admin/learning/evidence")
    if not found["outcomes"]:
        show("nothing has been learnt yet: no outcome has come, or learning is off in lumni.yaml")
        return
    show(table([_rounded(one) for one in found["outcomes"]], OUTCOMES), "")
    show(table([_rounded(one) for one in found["comparisons"]], COMPARISONS))


def judge(
    by: Annotated[str, typer.Option("--judge", help="the model that grades; a name of GET /v1/models")],
    budget: Annotated[str, typer.Option(help="the most to spend, in USD")],
    share: Annotated[float, typer.Option(help="of the answers, 0 to 1", min=0.0001, max=1)] = 0.05,
    since: Annotated[str, typer.Option(help="how long ago, such as 1d, or a date")] = "1d",
) -> None:
    """Have a share of the answers judged that no user has judged; where texts are kept (LUMNI_PROMPTS_KEY)."""
    try:
        most = nano(budget)
    except ValueError as error:
        raise RefusedError(f"--budget: {error}") from error
    gateway = Gateway()
    began = moments.iso("--since", since)
    idents = gateway("GET", "/admin/learning/judgements/open", params={"from": began, "share": share})["data"]
    with own_key.made(gateway) as key:
        judged, unread, spent = asyncio.run(_judged(gateway, key, by, most, idents))
    show(f"{judged} of {len(idents)} answers judged by {by}, {unread} cannot be; spent {spent}")


async def _judged(
    gateway: Gateway, key: str, name: str, most: int, idents: list[str]
) -> tuple[int, int, str]:
    # Only this needs them and what they import.
    from services.gateway.evaluation.caller import Caller, CallError
    from services.gateway.evaluation.past_answers import BudgetError, graded, read
    from services.gateway.evaluation.spending import Spending

    settings, spending = config.from_environ(Settings, config.environment()), Spending(most)
    judged = unread = 0
    async with Caller(settings.base, key) as caller:
        try:
            by = await caller.model(name)
            for ident in idents:
                kept = read(gateway("GET", f"/admin/requests/{ident}")["texts"])
                share = None if kept is None else await graded(caller, by, spending, *kept)
                if share is None:
                    unread += 1
                    continue
                given = {"request_id": ident, "judge": name, "share": share}
                gateway("POST", "/admin/learning/judgements", json=given)
                judged += 1
        except BudgetError:
            show("the budget is spent")
        except CallError as error:
            raise RefusedError(f"after {judged} answers: {error}") from error
    return judged, unread, str(spending)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
