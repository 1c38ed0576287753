"""The admin routes, and what a key's holder may read: keys, users, organizations, usage, audit."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.types import Message

from services.chassis import errors, money
from services.gateway.config.budgets import Period
from services.gateway.keys.authenticator import Caller, Keys
from services.gateway.keys.store import IDENT, Registry
from services.gateway.reports import usage
from services.gateway.reports.usage import Usage
from services.gateway.rest.app import JSON, bearer, read

MOST_METADATA = 16 * 1024
DAY_S = 86400
LONGEST_GRACE_S = 30 * DAY_S


def _ident(text: str) -> str:
    if not IDENT.fullmatch(text):
        raise ValueError("expected 1 to 128 letters, digits and _ . @ + -, beginning with a letter or digit")
    return text


def _metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(orjson.dumps(value)) > MOST_METADATA:
        raise ValueError(f"expected at most {MOST_METADATA} bytes of JSON")
    return value


def _money(value: Decimal) -> Decimal:
    money.nano(value)
    return value


Ident = Annotated[str, AfterValidator(_ident)]
Limit = Annotated[int, Field(ge=0, le=2**31 - 1)]
Money = Annotated[Decimal, Field(ge=0, le=money.LARGEST_USD), AfterValidator(_money)]
PathIdent = Annotated[str, Path(), AfterValidator(_ident)]


class Owner(BaseModel):
    """Limits and budget of a user or an organization; null is no limit."""

    model_config = ConfigDict(extra="forbid")

    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None
    parallel_limit: Limit | None = None
    budget_usd: Money | None = None
    budget_period: Period = Period.MONTH


class User(Owner):
    """A user, who may belong to an organization."""

    organization_id: Ident | None = None


class KeyFields(Owner):
    """A key; null limits and budget are the plan's."""

    user_id: Ident | None = None
    organization_id: Ident | None = None
    plan: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    models: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=256)] = []
    powerful_share: Annotated[float, Field(ge=0, le=1)] | None = None
    expires_at: AwareDatetime | None = None
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_metadata)] = {}


class Rotation(BaseModel):
    """How a key gets a new secret."""

    model_config = ConfigDict(extra="forbid")

    grace_s: Annotated[int, Field(ge=0, le=LONGEST_GRACE_S)] = DAY_S


def _actor(request: Request) -> str:
    return str(request.state.actor)


Actor = Annotated[str, Depends(_actor)]


def router(keys: Keys, registry: Registry, used: Usage) -> APIRouter:
    """All routes below /admin, /key and /usage."""
    routes = APIRouter()
    routes.include_router(_keys(keys, registry, used))
    routes.include_router(_owners(keys, registry))
    routes.include_router(_usage(keys, used))
    return routes


def _guarded(keys: Keys) -> type[APIRoute]:
    """Routes for admins: a stranger learns nothing of what is valid, and no body is read without a bound."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                request.state.actor = (await keys.admin(bearer(request))).key_id
                body = await read(request)

                async def again() -> Message:
                    return {"type": "http.request", "body": body, "more_body": False}

                return await handle(Request(request.scope, again))

            return guarded

    return Guarded


def _keys(keys: Keys, registry: Registry, used: Usage) -> APIRouter:
    routes = APIRouter(prefix="/admin/keys", route_class=_guarded(keys))

    @routes.post("", status_code=201)
    async def create(fields: KeyFields, who: Actor) -> Response:
        return JSON(_key(await registry.create(who, _columns(fields))), 201)

    @routes.get("")
    async def find(
        user_id: str | None = None,
        organization_id: str | None = None,
        plan: str | None = None,
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        rows = await registry.find(
            user_id=user_id, organization_id=organization_id, plan=plan, after=after, limit=limit
        )
        following = rows[-1]["key_id"] if len(rows) == limit else None
        return JSON({"object": "list", "data": [_key(row) for row in rows], "after": following})

    @routes.get("/{key_id}")
    async def get(key_id: str) -> Response:
        row = await registry.get(key_id)
        spent = await used.spent([f"key:{key_id}"])
        return JSON({**_key(row), "spent_usd": spent[f"key:{key_id}"]})

    @routes.patch("/{key_id}")
    async def change(key_id: str, fields: KeyFields, who: Actor) -> Response:
        return JSON(_key(await registry.change(who, key_id, _given(fields))))

    @routes.post("/{key_id}/rotate")
    async def rotate(
        key_id: str,
        who: Actor,
        how: Rotation | None = None,
        idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
    ) -> Response:
        row = await registry.rotate(
            who, key_id, grace_s=(how or Rotation()).grace_s, idempotency_key=idempotency_key
        )
        return JSON({**_key(row), "old_valid_until": row["old_valid_until"]})

    @routes.post("/{key_id}/revoke")
    async def revoke(key_id: str, who: Actor) -> Response:
        return JSON(_key(await registry.revoke(who, key_id)))

    @routes.post("/{key_id}/reset-limits")
    async def reset_limits(key_id: str, who: Actor) -> Response:
        await registry.reset_limits(who, key_id)
        return JSON({"key_id": key_id, "reset": True})

    return routes


def _owners(keys: Keys, registry: Registry) -> APIRouter:
    routes = APIRouter(prefix="/admin", route_class=_guarded(keys))

    @routes.get("/users/{user_id}")
    async def get_user(user_id: str) -> Response:
        return JSON(_owner(await registry.get_user(user_id)))

    @routes.put("/users/{user_id}")
    async def put_user(user_id: PathIdent, fields: User, who: Actor) -> Response:
        return JSON(_owner(await registry.put_user(who, user_id, _given(fields))))

    @routes.delete("/users/{user_id}")
    async def erase(user_id: PathIdent, who: Actor) -> Response:
        return JSON({"user_id": user_id, "erased": True, "usage_kept_as": await registry.erase(who, user_id)})

    @routes.get("/users/{user_id}/export")
    async def export(user_id: str, who: Actor) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            async for table, row in registry.export(who, user_id):
                yield orjson.dumps({"table": table, **row}, default=str) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @routes.patch("/users/{user_id}/keys")
    async def change_all(user_id: str, fields: KeyFields, who: Actor) -> Response:
        return JSON({"user_id": user_id, "changed": await registry.change_all(who, user_id, _given(fields))})

    @routes.post("/users/{user_id}/keys/revoke")
    async def revoke_all(user_id: str, who: Actor) -> Response:
        return JSON({"user_id": user_id, "revoked": await registry.revoke_all(who, user_id)})

    @routes.get("/organizations/{organization_id}")
    async def get_organization(organization_id: str) -> Response:
        return JSON(_owner(await registry.get_organization(organization_id)))

    @routes.put("/organizations/{organization_id}")
    async def put_organization(organization_id: PathIdent, fields: Owner, who: Actor) -> Response:
        return JSON(_owner(await registry.put_organization(who, organization_id, _given(fields))))

    @routes.get("/audit")
    async def audit(
        subject: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Response:
        return JSON({"object": "list", "data": await registry.audit(subject, limit)})

    return routes


def _usage(keys: Keys, used: Usage) -> APIRouter:
    routes = APIRouter()
    guarded = APIRouter(prefix="/admin", route_class=_guarded(keys))

    async def answer(asked: usage.Question, form: str) -> Response:
        rows = await used.rows(asked)
        if form == "csv":
            return Response(usage.as_csv(rows, asked.group_by), media_type="text/csv; charset=utf-8")
        whole = usage.Question(asked.since, asked.until, (), asked.only)
        return JSON(
            {
                "object": "usage",
                "from": asked.since,
                "to": asked.until,
                "group_by": asked.group_by,
                "data": rows,
                "total": rows[0] if not asked.group_by else (await used.rows(whole))[0],
                "savings": await used.savings(whole),
            }
        )

    @guarded.get("/usage")
    async def all_usage(
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: Annotated[datetime | None, Query(alias="to")] = None,
        group_by: str = "model",
        user_id: str | None = None,
        key_id: str | None = None,
        organization_id: str | None = None,
        plan: str | None = None,
        model: str | None = None,
        form: Annotated[str, Query(alias="format", pattern="^(json|csv)$")] = "json",
    ) -> Response:
        only = {
            "user_id": user_id,
            "key_id": key_id,
            "organization_id": organization_id,
            "plan": plan,
            "model": model,
        }
        return await answer(usage.question(since=since, until=until, group_by=group_by, only=only), form)

    @routes.get("/usage/{user_id}")
    async def of_user(
        request: Request,
        user_id: str,
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: Annotated[datetime | None, Query(alias="to")] = None,
        group_by: str = "model",
        form: Annotated[str, Query(alias="format", pattern="^(json|csv)$")] = "json",
    ) -> Response:
        caller = await keys.caller(bearer(request))
        if not caller.is_admin and caller.user_id != user_id:
            # Whether there is such a user is nobody else's business.
            raise errors.Forbidden("this is another user's usage", reason="NOT_YOUR_USAGE")
        only = {"user_id": user_id}
        return await answer(usage.question(since=since, until=until, group_by=group_by, only=only), form)

    @routes.get("/key/info")
    async def info(request: Request) -> Response:
        caller = await keys.caller(bearer(request))
        return JSON(_info(caller, await used.spent([one.name for one in caller.subjects])))

    routes.include_router(guarded)
    return routes


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a key from elsewhere, checked as those of a REST body; as columns.

    Raises:
        Invalid: names the first field that makes no sense.
    """
    values = {name: value for name, value in given.items() if name != "budget_nano_usd"}
    if "budget_nano_usd" in given:
        amount = given["budget_nano_usd"]
        values["budget_usd"] = None if amount is None else Decimal(amount) / money.NANO
    try:
        return _given(KeyFields.model_validate(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise errors.Invalid(f"{name}: {first['msg']}", param=name) from error


def _given(fields: BaseModel) -> dict[str, Any]:
    """The fields that were sent, as columns."""
    return _as_columns(fields.model_dump(exclude_unset=True))


def _columns(fields: KeyFields) -> dict[str, Any]:
    """All fields that have a value, as columns."""
    return _as_columns(fields.model_dump(exclude_none=True))


def _as_columns(values: dict[str, Any]) -> dict[str, Any]:
    if "budget_usd" in values:
        amount = values.pop("budget_usd")
        values["budget_nano_usd"] = None if amount is None else money.nano(amount)
    for name in ("plan", "models", "metadata", "budget_period"):
        if name in values and values[name] is None:
            raise errors.Invalid(f"{name}: must not be null", param=name)
    return values


def _budget(row: Mapping[str, Any]) -> dict[str, Any]:
    limit = row["budget_nano_usd"]
    return {
        "budget_usd": None if limit is None else money.usd(limit),
        "budget_period": row["budget_period"],
    }


def _key(row: Mapping[str, Any]) -> dict[str, Any]:
    """A key as REST shows it; the secret only where it was just made."""
    now = datetime.now(UTC)
    expired = row["expires_at"] is not None and row["expires_at"] <= now
    shown = {name: value for name, value in row.items() if name not in ("budget_nano_usd", "old_valid_until")}
    state = "revoked" if row["revoked_at"] else "expired" if expired else "active"
    return {"object": "key", **shown, **_budget(row), "status": state}


def _owner(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in row.items() if name != "budget_nano_usd"}, **_budget(row)}


def _info(caller: Caller, spent: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What a holder may know of the own key."""
    plan = caller.plan
    return {
        "object": "key",
        "key_id": caller.key_id,
        "user_id": caller.user_id or None,
        "organization_id": caller.organization_id or None,
        "plan": plan.name,
        "access_groups": plan.access_groups,
        "models": caller.models,
        "strategy": plan.strategy,
        "max_output_tokens": plan.max_output_tokens,
        "max_request_tokens": plan.max_request_tokens or None,
        "expires_at": datetime.fromtimestamp(caller.expires_at, UTC) if caller.expires_at else None,
        "metadata": caller.metadata,
        "limits": [
            {
                "subject": one.name,
                "rpm": one.rate.rpm or None,
                "tpm": one.rate.tpm or None,
                "parallel": one.rate.parallel or None,
                "budget_usd": money.usd(one.budget.limit_nano_usd) if one.budget else None,
                "budget_period": one.budget.period if one.budget else None,
                "spent_usd": spent[one.name],
            }
            for one in caller.subjects
        ],
    }
