"""OpenRouter's activity export: a CSV with a row for each generation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from services.gateway.imports import fields
from services.gateway.imports.records import Record, Spend
from services.gateway.imports.spend_lines import spends
from services.gateway.ledger.rows import Kind

Row: TypeAlias = Mapping[str, str]

SOURCE = "openrouter"
NEEDED = (
    "generation_id",
    "created_at",
    "cost_total",
    "tokens_prompt",
    "tokens_completion",
    "model_permaslug",
)


def records(rows: Iterable[tuple[int, Row]], file: str) -> Iterator[Record]:
    """Each row, which is named by its line, as what it cost."""
    return spends(rows, file, ident="generation_id", read=_spend, notes=_notes)


def _notes(row: Row) -> Iterator[str]:
    if fields.dollars("byok_usage_inference", row.get("byok_usage_inference")):
        yield "byok_usage_inference: is billed by the provider itself, and no cost here"


def _spend(row: Row) -> Spend:
    generation = fields.text("generation_id", row["generation_id"])
    if not generation:
        raise ValueError("generation_id: is empty; without it a second import could not tell this row")
    cost = fields.dollars("cost_total", row["cost_total"])
    cancelled = fields.flag("cancelled", row.get("cancelled"))
    own = {
        "generation_id": generation,
        "api_key_name": row.get("api_key_name"),
        "app_name": row.get("app_name"),
        "variant": row.get("variant"),
    }
    return Spend(
        identity=f"{SOURCE}\n{generation}",
        at=fields.moment("created_at", row["created_at"]),
        model=fields.text("model_permaslug", row["model_permaslug"]),
        cost_usd=cost,
        kind=(Kind.PARTIAL if cost else Kind.FAILED) if cancelled else Kind.FINAL,
        key_ref=fields.text("api_key_name", row.get("api_key_name")),
        user_id=fields.ident("user", row.get("user")),
        provider=fields.text("provider_name", row.get("provider_name")),
        stream=fields.flag("streamed", row.get("streamed")),
        tokens={
            "prompt_tokens": fields.whole("tokens_prompt", row["tokens_prompt"]),
            "completion_tokens": fields.whole("tokens_completion", row["tokens_completion"]),
            "reasoning_tokens": fields.whole("tokens_reasoning", row.get("tokens_reasoning")),
            "cached_tokens": fields.whole("tokens_cached", row.get("tokens_cached")),
        },
        duration_ms=fields.milliseconds("generation_time_ms", row.get("generation_time_ms")),
        first_chunk_ms=fields.milliseconds("time_to_first_token_ms", row.get("time_to_first_token_ms")),
        metadata={"imported_from": SOURCE, **{name: value for name, value in own.items() if value}},
    )
