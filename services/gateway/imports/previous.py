"""SQLite of the previous generation: keys and usage; other columns, and other tables, are not read."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from services.gateway.imports import fields
from services.gateway.imports.records import Key, Mistake, Record, Spend
from services.gateway.keys.digests import IMPORTED_PREFIX
from services.gateway.ledger.rows import Kind

Row: TypeAlias = Mapping[str, Any]

# By table: the columns that must be there, and those that are read where they are.
TABLES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "api_keys": (("id", "api_key", "user_id", "plan", "created_at"), ("expires_at", "revoked")),
    "usage": (
        ("id", "created_at", "user_id", "model", "prompt_tokens", "completion_tokens", "cost_usd"),
        ("api_key_id", "provider", "category", "tier", "latency_ms", "status"),
    ),
}
GOOD = ("success", "succeeded", "ok", "200")


def records(rows: Iterable[tuple[str, Row]], source: str, plans: Collection[str]) -> Iterator[Record]:
    """Rows with the names of their tables, keys before usage, as records; `plans` are those that there are."""
    key_of: dict[Any, str] = {}
    for table, row in rows:
        try:
            if table == "api_keys":
                key = _key(row, plans)
                key_of.setdefault(row["id"], key.ref)
                yield key
            else:
                yield _usage(row, key_of.get(row.get("api_key_id"), ""), source)
        except ValueError as error:
            yield Mistake(table, str(row["id"]), str(error))


def _key(row: Row, plans: Collection[str]) -> Key:
    secret = fields.text("api_key", row["api_key"])
    if not secret.startswith(IMPORTED_PREFIX):
        raise ValueError("api_key: must hold the key itself, beginning with sk-")
    plan = fields.text("plan", row["plan"]) or None
    if plan is not None and plan not in plans:
        raise ValueError(f"plan: there is no plan {plan!r}; known: {', '.join(sorted(plans))}")
    created = fields.moment("created_at", row["created_at"])
    return Key(
        ref=secret,
        secret=secret,
        hint=secret[-4:],
        user_id=fields.ident("user_id", row["user_id"]) or None,
        plan=plan,
        created_at=created,
        expires_at=fields.moment_or_none("expires_at", row.get("expires_at")),
        revoked_at=created if fields.flag("revoked", row.get("revoked")) else None,
    )


def _usage(row: Row, key_ref: str, source: str) -> Spend:
    cost = fields.dollars("cost_usd", row["cost_usd"])
    failed = str(row.get("status") or GOOD[0]).lower() not in GOOD
    return Spend(
        identity="\n".join(str(row[name]) for name in ("id", "created_at", "user_id", "model")),
        at=fields.moment("created_at", row["created_at"]),
        model=fields.text("model", row["model"]),
        cost_usd=cost,
        kind=(Kind.PARTIAL if cost else Kind.FAILED) if failed else Kind.FINAL,
        key_ref=key_ref,
        user_id=fields.ident("user_id", row["user_id"]),
        provider=fields.text("provider", row.get("provider")),
        category=fields.text("category", row.get("category")),
        tier=fields.text("tier", row.get("tier")),
        tokens={name: fields.whole(name, row[name]) for name in ("prompt_tokens", "completion_tokens")},
        duration_ms=fields.milliseconds("latency_ms", row.get("latency_ms")),
        metadata={"imported_from": source},
    )
