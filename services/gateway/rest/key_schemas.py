"""What the routes of keys, users and organizations accept and show: fields in JSON, and as columns of their tables."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.chassis import errors, money
from services.gateway.config.budgets import Period
from services.gateway.keys.columns import IDENT

MOST_METADATA = 16 * 1024
DAY_S = 86400
LONGEST_GRACE_S = 30 * DAY_S
# asyncpg stores the first and the last moment that Python knows as infinities, and reads them back without a zone; as
# seconds in 64 bits of floating point, what follows the last whole second is the year 10000.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def _ident(text: str) -> str:
    if not IDENT.fullmatch(text):
        raise ValueError("expected 1 to 128 letters, digits and _ . @ + -, beginning with a letter or digit")
    return text


def _metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        # A number of more than 64 bits, or half of a surrogate pair.
        raise ValueError(f"cannot be stored: {error}") from error
    if len(text) > MOST_METADATA:
        raise ValueError(f"expected at most {MOST_METADATA} bytes of JSON")
    # An escaped backslash before u0000 is no NUL.
    if rb"\u0000" in text.replace(rb"\\", b""):
        raise ValueError("holds a NUL, which cannot be stored")
    return value


def _money(value: Decimal) -> Decimal:
    money.nano(value)
    return value


Ident = Annotated[str, AfterValidator(_ident)]
Limit = Annotated[int, Field(ge=0, le=2**31 - 1)]
Money = Annotated[Decimal, Field(ge=0, le=money.LARGEST_USD), AfterValidator(_money)]
ModelName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]
M = TypeVar("M", bound=BaseModel)
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
    models: Annotated[list[ModelName], Field(max_length=256)] = []
    powerful_share: Annotated[float, Field(ge=0, le=1)] | None = None
    store_prompts: bool | None = None
    expires_at: Moment | None = None
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_metadata)] = {}


class Rotation(BaseModel):
    """How a key gets a new secret."""

    model_config = ConfigDict(extra="forbid")

    grace_s: Annotated[int, Field(ge=0, le=LONGEST_GRACE_S)] = DAY_S


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a key that did not come as JSON, checked as those of a REST body; as columns.

    Raises:
        Invalid: names the first field that makes no sense.
    """
    values = {name: value for name, value in given.items() if name != "budget_nano_usd"}
    if "budget_nano_usd" in given:
        amount = given["budget_nano_usd"]
        values["budget_usd"] = None if amount is None else Decimal(amount) / money.NANO
    return given_columns(validated(KeyFields, values))


def validated(model: type[M], values: Mapping[str, Any]) -> M:
    """Fields that did not come as JSON, checked as those of a REST body.

    Raises:
        Invalid: names the first field that makes no sense.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise errors.Invalid(f"{name}: {first['msg']}", param=name) from error


def given_columns(fields: BaseModel) -> dict[str, Any]:
    """The fields that were sent, as columns."""
    return _as_columns(fields.model_dump(exclude_unset=True))


def columns(fields: KeyFields) -> dict[str, Any]:
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


def shown_key(row: Mapping[str, Any]) -> dict[str, Any]:
    """A key as REST shows it; with its secret only where that was just made."""
    now = datetime.now(UTC)
    expired = row["expires_at"] is not None and row["expires_at"] <= now
    shown = {name: value for name, value in row.items() if name not in ("budget_nano_usd", "old_valid_until")}
    state = "revoked" if row["revoked_at"] else "expired" if expired else "active"
    return {"object": "key", **shown, **_budget(row), "status": state}


def shown_owner(row: Mapping[str, Any]) -> dict[str, Any]:
    """A user or an organization as REST shows it."""
    return {**{name: value for name, value in row.items() if name != "budget_nano_usd"}, **_budget(row)}


def shown_spending(nano_usd: Mapping[str, int]) -> dict[str, float]:
    """What was spent, by period, in US dollars."""
    return {period: money.usd(amount) for period, amount in nano_usd.items()}
