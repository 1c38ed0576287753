"""Portkey's exports: the answer of its route of API keys, and the lines of a log export.

Portkey shows keys with asterisks, so they are imported without their secret: `lumni keys rotate` makes one.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from services.gateway.imports import fields
from services.gateway.imports.records import Key, Limits, Mistake, Note, Record, Spend
from services.gateway.imports.spend_lines import spends
from services.gateway.ledger.rows import Kind

Row: TypeAlias = Mapping[str, Any]

SOURCE = "portkey"
KEYS = "API keys"
CENTS = 100
PERIODS = {"monthly": "month", "weekly": "week", "daily": "day"}
# The field of a request's metadata that Portkey itself takes for its user.
USER = "_user"


def key_records(keys: Iterable[Row]) -> Iterator[Record]:
    """The objects of `data` in the answer of `GET /v1/api-keys`."""
    for row in keys:
        try:
            yield from _key(row)
        except ValueError as error:
            yield Mistake(KEYS, str(row.get("name") or row.get("id")), str(error))


def log_records(rows: Iterable[tuple[int, Row]], file: str) -> Iterator[Record]:
    """The lines of a log export, each with its number."""
    return spends(rows, file, ident="id", read=_spend)


def _key(row: Row) -> Iterator[Record]:
    if row.get("object") == "virtual-key":
        raise ValueError("object: a virtual key holds a provider's key; put that into litellm_config.yaml")
    ident = fields.text("id", row.get("id"))
    if not ident:
        raise ValueError("id: is missing; export the answer of GET /v1/api-keys as it is")
    name = str(row.get("name") or ident)
    limits = fields.mapping("usage_limits", row.get("usage_limits"))
    budget = fields.budget("usage_limits.credit_limit", limits.get("credit_limit"))
    if limits.get("type") == "tokens":
        yield Note("usage_limits of tokens: have no counterpart", name)
        budget = None
    reset = limits.get("periodic_reset")
    if reset and reset not in PERIODS:
        raise ValueError(
            f"usage_limits.periodic_reset: {str(reset)[:40]!r}; expected {', '.join(PERIODS)} or none"
        )
    rates = {}
    for rate in row.get("rate_limits") or ():
        if rate.get("unit") == "rpm":
            column = "tpm_limit" if rate.get("type") == "tokens" else "rpm_limit"
            rates[column] = fields.limit("rate_limits.value", rate.get("value"))
        else:
            yield Note(f"rate_limits by {rate.get('unit')}: have no counterpart", name)
    for column in ("scopes", "alert_emails"):
        if row.get(column):
            yield Note(f"{column}: have no counterpart", name)
    defaults = fields.mapping("defaults", row.get("defaults"))
    if defaults.get("config_id"):
        yield Note("defaults.config_id: has no counterpart; see plans and litellm_config.yaml", name)
    if limits.get("alert_threshold") is not None:
        yield Note("usage_limits.alert_threshold: is the plan's budget_soft here", name)
    active = row.get("status", "active") == "active"
    if not active:
        yield Note("a key that is not active: is revoked here, for good", name)
    yield Note("a key without its secret: `lumni keys rotate KEY_ID` makes one", name)
    created = fields.moment("created_at", row.get("created_at"))
    changed = fields.moment_or_none("last_updated_at", row.get("last_updated_at"))
    yield Key(
        ref=f"{SOURCE}:{ident}",
        hint=fields.text("key", row.get("key"))[-2:].strip("*"),
        user_id=fields.ident("user_id", row.get("user_id")) or None,
        organization_id=fields.ident("workspace_id", row.get("workspace_id")) or None,
        limits=Limits(**rates, budget_nano_usd=budget, budget_period=PERIODS.get(str(reset), "total")),
        created_at=created,
        expires_at=fields.moment_or_none("expires_at", row.get("expires_at")),
        revoked_at=None if active else changed or created,
        metadata={
            **fields.mapping("defaults.metadata", defaults.get("metadata")),
            "portkey_id": ident,
            "alias": name,
        },
    )


def _spend(row: Row) -> Spend:
    ident = fields.text("id", row.get("id"))
    if not ident:
        raise ValueError("id: is missing; request the export with the field id")
    if row.get("cost_currency") not in (None, "", "USD"):
        raise ValueError(f"cost_currency: {str(row['cost_currency'])[:40]!r}; expected USD")
    if "cost" not in row:
        raise ValueError("cost: is missing; request the export with the field cost")
    cents = row["cost"]
    cost = fields.dollars("cost", Decimal(str(cents)) / CENTS if _is_number(cents) else cents)
    cached = "HIT" in str(row.get("cache_status") or "")
    failed = not fields.flag("is_success", row.get("is_success", True))
    kind = Kind.FINAL
    if failed:
        kind = Kind.PARTIAL if cost else Kind.FAILED
    elif cached and not cost:
        kind = Kind.CACHED
    metadata = fields.mapping("metadata", row.get("metadata"))
    return Spend(
        identity=f"{SOURCE}\n{ident}",
        at=fields.moment("created_at", row.get("created_at")),
        model=fields.text("ai_model", row.get("ai_model")),
        cost_usd=cost,
        kind=kind,
        user_id=fields.ident(f"metadata.{USER}", metadata.get(USER)),
        provider=fields.text("ai_org", row.get("ai_org")),
        tokens={
            "prompt_tokens": fields.whole("req_units", row.get("req_units")),
            "completion_tokens": fields.whole("res_units", row.get("res_units")),
        },
        duration_ms=fields.milliseconds("response_time", row.get("response_time")),
        status_code=fields.whole("response_status_code", row.get("response_status_code"), 999),
        metadata={
            **{name: str(value) for name, value in metadata.items()},
            "imported_from": SOURCE,
            "trace_id": str(row.get("trace_id") or ""),
        },
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
