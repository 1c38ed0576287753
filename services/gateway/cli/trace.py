"""lumni trace: one request's whole story, from the ledger's tables."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.chassis.money import usd
from services.gateway.cli.client import Gateway
from services.gateway.cli.output import facts, show, table

if TYPE_CHECKING:
    from rich.table import Table

ATTEMPTS = (
    ("AFTER MS", "after_ms"),
    ("DEPLOYMENT", "deployment"),
    ("ENDED", "kind"),
    ("ERROR", "error"),
    ("STATUS", "status_code"),
    ("PROMPT", "prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("COST USD", "cost_usd"),
    ("FIRST MS", "first_chunk_ms"),
    ("MS", "duration_ms"),
)


def trace(
    request: Annotated[str, typer.Argument(help="the x-request-id of an answer, or its x-lumni-trace-id")],
) -> None:
    """Show what became of one request: who asked, what was decided and why, each attempt, what it cost."""
    show(*told(Gateway()("GET", f"/admin/requests/{request}")))


def told(story: Mapping[str, Any]) -> "Iterator[str | Table]":
    """The answer of GET /admin/requests/{id}, as texts and tables."""
    attempts, chosen, judged = story["attempts"], story["selection"] or {}, story["classification"] or {}
    who = chosen or attempts[0]
    known = {
        "request": story["request_id"],
        "trace": chosen.get("trace_id"),
        "decided": chosen.get("decided_at"),
        **{name: who[name] for name in ("key_id", "user_id", "organization_id", "plan")},
        "asked for": chosen.get("requested_model"),
        "refused": chosen.get("refusal"),
        "classified": " ".join(filter(None, (judged.get("tier"), judged.get("category")))),
        "tier": chosen.get("tier"),
        "strategy": chosen.get("strategy"),
        "reason": chosen.get("reason"),
        "candidates": chosen.get("candidates"),
        "configuration": chosen.get("configuration"),
        "without": chosen.get("degraded"),
        "feedback": story["feedback"],
    }
    yield facts({name: value for name, value in known.items() if value not in (None, "", [])})
    if attempts:
        yield ""
        yield table([_attempt(one, chosen.get("decided_at")) for one in attempts], ATTEMPTS)
        costs = [one["cost_nano_usd"] for one in attempts]
        total = "unknown, for a price is" if None in costs else f"{usd(sum(costs)):.9f} USD"
        yield f"\ncost: {total}"
    if texts := story["texts"]:
        for side in ("request", "response"):
            yield f"\n{side}:\n{_text(side, texts)}"


def _text(side: str, texts: Mapping[str, Any]) -> str:
    """One side of a request, as JSON."""
    if side in texts["cut"] and texts[side] is None:
        return "too long to be kept"
    return json.dumps(texts[side], indent=2, ensure_ascii=False)


def _attempt(row: Mapping[str, Any], decided_at: str | None) -> dict[str, Any]:
    after_ms = None
    if decided_at is not None:
        after = datetime.fromisoformat(row["started_at"]) - datetime.fromisoformat(decided_at)
        after_ms = round(after.total_seconds() * 1000)
    cost = row["cost_nano_usd"]
    return {
        **row,
        "after_ms": after_ms,
        "error": row["error_class"] or None,
        "status_code": row["status_code"] or None,
        "cost_usd": None if cost is None else usd(cost),
        "first_chunk_ms": round(row["first_chunk_ms"], 1) or None,
        "duration_ms": round(row["duration_ms"], 1),
    }
