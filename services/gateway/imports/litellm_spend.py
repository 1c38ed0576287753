"""What LiteLLM counted as spent: its rows of requests, or its sums of days."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from services.chassis.operations import Operation
from services.gateway.imports import fields
from services.gateway.imports.litellm import DASHBOARD_TEAM, Row
from services.gateway.imports.records import Mistake, Spend
from services.gateway.ledger.rows import Kind

LOGS, DAYS = "LiteLLM_SpendLogs", "LiteLLM_DailyUserSpend"
SOURCE = "litellm"
# By table: the columns that must be there, and those that are read where they are.
TABLES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    LOGS: (
        ("request_id", "call_type", "api_key", "spend", "prompt_tokens", "completion_tokens", "startTime", "endTime",
         "model", "user"),
        ("model_group", "custom_llm_provider", "completionStartTime", "team_id", "organization_id", "end_user",
         "cache_hit", "status", "request_tags", "session_id"),
    ),
    DAYS: (
        ("id", "user_id", "date", "api_key", "model", "spend", "prompt_tokens", "completion_tokens"),
        ("model_group", "custom_llm_provider", "cache_read_input_tokens", "cache_creation_input_tokens",
         "api_requests", "failed_requests"),
    ),
}  # fmt: skip
OPERATIONS = {
    "completion": Operation.CHAT,
    "text_completion": Operation.COMPLETIONS,
    "embedding": Operation.EMBEDDINGS,
    "moderation": Operation.MODERATIONS,
    "image_generation": Operation.IMAGE_GENERATION,
    "speech": Operation.AUDIO_SPEECH,
    "transcription": Operation.AUDIO_TRANSCRIPTION,
    "responses": Operation.RESPONSES,
    "anthropic_messages": Operation.MESSAGES,
}


class LiteLlmSpend:
    """Rows of either table as records."""

    def __init__(self, organizations: Mapping[str, str]) -> None:
        """Know the organization of each key, for rows that name none."""
        self._organizations = organizations

    def request(self, row: Row) -> Spend | Mistake:
        """A row of `LiteLLM_SpendLogs`."""
        try:
            return self._request(row)
        except ValueError as error:
            return Mistake(LOGS, str(row["request_id"]), str(error))

    def day(self, row: Row) -> Spend | Mistake:
        """A row of `LiteLLM_DailyUserSpend`."""
        try:
            return self._day(row)
        except ValueError as error:
            return Mistake(DAYS, str(row["id"]), str(error))

    def _request(self, row: Row) -> Spend:
        started = fields.moment("startTime", row["startTime"])
        cost = fields.dollars("spend", row["spend"])
        if row.get("status") == "failure":
            kind = Kind.PARTIAL if cost else Kind.FAILED
        else:
            kind = Kind.CACHED if str(row.get("cache_hit")) == "True" and not cost else Kind.FINAL
        own = {
            "request_id": row["request_id"],
            "end_user": row.get("end_user"),
            "session_id": row.get("session_id"),
            "tags": row.get("request_tags"),
        }
        token = fields.text("api_key", row["api_key"])
        team = row.get("team_id") or row.get("organization_id")
        return Spend(
            identity=f"{SOURCE}\n{fields.text('request_id', row['request_id'])}",
            at=started,
            model=_model(row),
            cost_usd=cost,
            kind=kind,
            key_ref=token,
            user_id=fields.ident("user", row["user"]),
            organization_id=""
            if team == DASHBOARD_TEAM
            else fields.ident("team_id", team) or self._organizations.get(token, ""),
            provider=fields.text("custom_llm_provider", row.get("custom_llm_provider")),
            operation=_operation(fields.text("call_type", row["call_type"])),
            tokens={name: fields.whole(name, row[name]) for name in ("prompt_tokens", "completion_tokens")},
            duration_ms=_between(row["startTime"], row["endTime"]),
            first_chunk_ms=_between(row["startTime"], row.get("completionStartTime")),
            metadata={"imported_from": SOURCE, **{name: value for name, value in own.items() if value}},
        )

    def _day(self, row: Row) -> Spend:
        try:
            day = datetime.combine(date.fromisoformat(str(row["date"])), time(), UTC)
        except ValueError:
            raise ValueError(f"date: {str(row['date'])[:40]!r}; expected one such as 2026-01-31") from None
        token = fields.text("api_key", row["api_key"])
        return Spend(
            identity=f"{SOURCE}-day\n{fields.text('id', row['id'])}",
            at=fields.moment("date", day),
            model=_model(row),
            cost_usd=fields.dollars("spend", row["spend"]),
            key_ref=token,
            user_id=fields.ident("user_id", row["user_id"]),
            organization_id=self._organizations.get(token, ""),
            provider=fields.text("custom_llm_provider", row.get("custom_llm_provider")),
            tokens={
                "prompt_tokens": fields.whole("prompt_tokens", row["prompt_tokens"]),
                "completion_tokens": fields.whole("completion_tokens", row["completion_tokens"]),
                "cached_tokens": fields.whole("cache_read_input_tokens", row.get("cache_read_input_tokens")),
                "cache_write_tokens": fields.whole(
                    "cache_creation_input_tokens", row.get("cache_creation_input_tokens")
                ),
            },
            metadata={
                "imported_from": SOURCE,
                "requests": fields.whole("api_requests", row.get("api_requests")),
                "failed_requests": fields.whole("failed_requests", row.get("failed_requests")),
            },
        )


def _model(row: Row) -> str:
    """The name that callers used, where it was noted."""
    return fields.text("model_group", row.get("model_group")) or fields.text("model", row["model"])


def _operation(call_type: str) -> str:
    return OPERATIONS.get(
        call_type.removeprefix("a") if call_type[1:] in OPERATIONS else call_type, call_type
    )


def _between(start: Any, end: Any) -> float:
    """From one moment to another, in milliseconds; 0 where the second was not noted."""
    if not isinstance(end, datetime):
        return 0.0
    seconds: float = (end - start).total_seconds()
    return max(0.0, seconds * 1000)
