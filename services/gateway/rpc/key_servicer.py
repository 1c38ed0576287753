"""Keys for admins over gRPC: the same store as the REST routes."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from lumni.gateway.v1 import keys_pb2 as pb
from lumni.gateway.v1 import keys_pb2_grpc

from services.chassis import bounds, errors, json_bounds
from services.chassis.bounds import IDENT, NAME, Bounds
from services.gateway.keys.store import KeyStore
from services.gateway.rest import key_schemas
from services.gateway.rpc import admission

# Plain fields that go to the column of the same name.
Plain: TypeAlias = Literal[
    "user_id",
    "organization_id",
    "plan",
    "rpm_limit",
    "tpm_limit",
    "parallel_limit",
    "budget_nano_usd",
    "budget_period",
    "powerful_share",
    "store_prompts",
]
PLAIN: tuple[Plain, ...] = get_args(Plain)
COLUMNS = {"metadata_json": "metadata"}
# What a cleared field becomes where null makes no sense.
UNSET = {"budget_period": "month"}
LONGEST_PAGE = 1000
OF_KEY: Bounds = {"key_id": IDENT}
OF_USER: Bounds = {"user_id": IDENT}
PAGE: Bounds = {"user_id": NAME, "organization_id": NAME, "plan": NAME, "after": NAME}
ROTATION: Bounds = {**OF_KEY, "idempotency_key": NAME}


class KeyServicer(keys_pb2_grpc.KeyServiceServicer):
    """Unpacks a call, checks its fields, changes the key, packs the answer."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    async def CreateKey(self, request: pb.CreateKeyRequest, context: object) -> pb.CreateKeyResponse:
        """POST /admin/keys."""
        actor = admission.admin()
        row = await self._store.create(actor, _fields(request.settings))
        return pb.CreateKeyResponse(key=_key(row), secret=row["key"])

    async def GetKey(self, request: pb.GetKeyRequest, context: object) -> pb.GetKeyResponse:
        """GET /admin/keys/{key_id}."""
        admission.admin()
        bounds.check(request, OF_KEY)
        return pb.GetKeyResponse(key=_key(await self._store.get(request.key_id)))

    async def ListKeys(self, request: pb.ListKeysRequest, context: object) -> pb.ListKeysResponse:
        """GET /admin/keys."""
        admission.admin()
        bounds.check(request, PAGE)
        if not 0 <= request.limit <= LONGEST_PAGE:
            raise errors.Invalid(f"limit: expected 1 to {LONGEST_PAGE}", param="limit")
        rows = await self._store.find(
            user_id=request.user_id or None,
            organization_id=request.organization_id or None,
            plan=request.plan or None,
            after=request.after,
            limit=request.limit or 100,
        )
        return pb.ListKeysResponse(keys=[_key(row) for row in rows])

    async def UpdateKey(self, request: pb.UpdateKeyRequest, context: object) -> pb.UpdateKeyResponse:
        """PATCH /admin/keys/{key_id}."""
        actor = admission.admin()
        bounds.check(request, OF_KEY)
        fields = _fields(request.settings, request.update_mask.paths)
        row = await self._store.change(actor, request.key_id, fields)
        return pb.UpdateKeyResponse(key=_key(row))

    async def RotateKey(self, request: pb.RotateKeyRequest, context: object) -> pb.RotateKeyResponse:
        """POST /admin/keys/{key_id}/rotate."""
        actor = admission.admin()
        bounds.check(request, ROTATION)
        grace_s = request.grace.seconds if request.HasField("grace") else key_schemas.DAY_S
        if not 0 <= grace_s <= key_schemas.LONGEST_GRACE_S:
            raise errors.Invalid(f"grace: expected 0 to {key_schemas.LONGEST_GRACE_S} s", param="grace")
        row = await self._store.rotate(
            actor, request.key_id, grace_s=grace_s, idempotency_key=request.idempotency_key or None
        )
        return pb.RotateKeyResponse(
            key=_key(row), secret=row["key"], old_valid_until=_timestamp(row["old_valid_until"])
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: object) -> pb.RevokeKeyResponse:
        """POST /admin/keys/{key_id}/revoke."""
        actor = admission.admin()
        bounds.check(request, OF_KEY)
        return pb.RevokeKeyResponse(key=_key(await self._store.revoke(actor, request.key_id)))

    async def ResetLimits(self, request: pb.ResetLimitsRequest, context: object) -> pb.ResetLimitsResponse:
        """POST /admin/keys/{key_id}/reset-limits."""
        actor = admission.admin()
        bounds.check(request, OF_KEY)
        await self._store.reset_limits(actor, request.key_id)
        return pb.ResetLimitsResponse()

    async def UpdateUserKeys(
        self, request: pb.UpdateUserKeysRequest, context: object
    ) -> pb.UpdateUserKeysResponse:
        """PATCH /admin/users/{user_id}/keys."""
        actor = admission.admin()
        bounds.check(request, OF_USER)
        fields = _fields(request.settings, request.update_mask.paths)
        if not fields:
            raise errors.Invalid("settings: set at least one field to change", param="settings")
        return pb.UpdateUserKeysResponse(changed=await self._store.change_all(actor, request.user_id, fields))

    async def RevokeUserKeys(
        self, request: pb.RevokeUserKeysRequest, context: object
    ) -> pb.RevokeUserKeysResponse:
        """POST /admin/users/{user_id}/keys/revoke."""
        actor = admission.admin()
        bounds.check(request, OF_USER)
        return pb.RevokeUserKeysResponse(revoked=await self._store.revoke_all(actor, request.user_id))


def _fields(settings: pb.KeySettings, mask: Collection[str] = ()) -> dict[str, Any]:
    """What is set, checked as REST checks it; with a mask its fields, and null where they are not set."""
    if unknown := set(mask) - set(settings.DESCRIPTOR.fields_by_name):
        raise errors.Invalid(f"update_mask: there is no field {min(unknown)!r}", param="update_mask")
    given: dict[str, Any] = {name: getattr(settings, name) for name in PLAIN if settings.HasField(name)}
    if settings.models or "models" in mask:
        given["models"] = list(settings.models)
    if settings.HasField("expires_at"):
        given["expires_at"] = _moment(settings.expires_at, "expires_at")
    if settings.HasField("metadata_json") or "metadata_json" in mask:
        given["metadata"] = _metadata(settings.metadata_json)
    if mask:
        wanted = [COLUMNS.get(name, name) for name in mask]
        given = {name: given.get(name, UNSET.get(name)) for name in wanted}
    return key_schemas.checked(given)


def _moment(stamp: Timestamp, field: str) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise errors.Invalid(f"{field}: expected a moment from the year 1970 to 9999", param=field) from error


def _metadata(text: str) -> Any:
    json_bounds.check(text.encode())
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise errors.Invalid(
            f"metadata_json: expected a JSON object: {error}", param="metadata_json"
        ) from error


def _key(row: Mapping[str, Any]) -> pb.Key:
    settings = pb.KeySettings(
        **{name: row[name] for name in PLAIN if row[name] is not None}, models=row["models"]
    )
    if row["metadata"]:
        settings.metadata_json = orjson.dumps(row["metadata"]).decode()
    if row["expires_at"] is not None:
        settings.expires_at.FromDatetime(row["expires_at"])
    return pb.Key(
        key_id=row["key_id"],
        hint=row["hint"],
        settings=settings,
        created_at=_timestamp(row["created_at"]),
        revoked_at=_timestamp(row["revoked_at"]),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
