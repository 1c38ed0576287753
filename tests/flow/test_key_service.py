"""Keys for admins over gRPC."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc, keys_pb2, keys_pb2_grpc

from services.chassis import status
from tests.flow.stack import ADMIN_KEY, API_KEY, Stack
from tests.gateway.conftest import eventually

ADMIN = (("authorization", f"Bearer {ADMIN_KEY}"),)
QUESTION = gateway_pb2.AskRequest(prompt="Say hello", model="small")


@pytest.fixture
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(stack.grpc) as one:
        yield one


async def test_a_key_is_made_used_rotated_and_revoked(channel: grpc.aio.Channel) -> None:
    keys: Any = keys_pb2_grpc.KeyServiceStub(channel)
    gateway: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
    settings = keys_pb2.KeySettings(
        user_id="ida.grpc", rpm_limit=50, budget_nano_usd=5_000_000, models=["small"]
    )
    made = await keys.CreateKey(keys_pb2.CreateKeyRequest(settings=settings), metadata=ADMIN, timeout=60)
    ident = made.key.key_id
    assert ("ida.grpc", 50, 5_000_000, ["small"], "open") == (
        made.key.settings.user_id,
        made.key.settings.rpm_limit,
        made.key.settings.budget_nano_usd,
        list(made.key.settings.models),
        made.key.settings.plan,
    )
    own = (("authorization", f"Bearer {made.secret}"),)
    assert (await gateway.Ask(QUESTION, metadata=own, timeout=60)).text

    rotated = await keys.RotateKey(
        keys_pb2.RotateKeyRequest(key_id=ident, grace=Duration(seconds=0)), metadata=ADMIN, timeout=60
    )
    assert rotated.secret != made.secret
    changed = await keys.UpdateKey(
        keys_pb2.UpdateKeyRequest(key_id=ident, settings=keys_pb2.KeySettings(rpm_limit=0)),
        metadata=ADMIN,
        timeout=60,
    )
    assert (0, "ida.grpc") == (changed.key.settings.rpm_limit, changed.key.settings.user_id)
    listed = await keys.ListKeys(keys_pb2.ListKeysRequest(user_id="ida.grpc"), metadata=ADMIN, timeout=60)
    assert [ident] == [one.key_id for one in listed.keys]
    await keys.RevokeKey(keys_pb2.RevokeKeyRequest(key_id=ident), metadata=ADMIN, timeout=60)

    async def refused() -> bool:
        try:
            await gateway.Ask(QUESTION, metadata=(("authorization", f"Bearer {rotated.secret}"),), timeout=60)
        except grpc.aio.AioRpcError as error:
            return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
        return False

    await eventually(refused)
    shown = await keys.GetKey(keys_pb2.GetKeyRequest(key_id=ident), metadata=ADMIN, timeout=60)
    assert shown.key.HasField("revoked_at")


async def test_a_mask_clears_fields_and_metadata_is_kept(channel: grpc.aio.Channel) -> None:
    keys: Any = keys_pb2_grpc.KeyServiceStub(channel)
    settings = keys_pb2.KeySettings(
        rpm_limit=50, budget_nano_usd=5_000, models=["small"], metadata_json='{"team": "a"}'
    )
    made = await keys.CreateKey(keys_pb2.CreateKeyRequest(settings=settings), metadata=ADMIN, timeout=60)
    assert '{"team":"a"}' == made.key.settings.metadata_json

    changed = await keys.UpdateKey(
        keys_pb2.UpdateKeyRequest(
            key_id=made.key.key_id,
            settings=keys_pb2.KeySettings(tpm_limit=7),
            update_mask=FieldMask(
                paths=["tpm_limit", "rpm_limit", "budget_nano_usd", "models", "metadata_json"]
            ),
        ),
        metadata=ADMIN,
        timeout=60,
    )

    now = changed.key.settings
    assert 7 == now.tpm_limit
    assert not now.HasField("rpm_limit")
    assert not now.HasField("budget_nano_usd")
    assert ([], "") == (list(now.models), now.metadata_json)


async def test_all_keys_of_a_user_are_changed_reset_and_revoked(channel: grpc.aio.Channel) -> None:
    keys: Any = keys_pb2_grpc.KeyServiceStub(channel)
    gateway: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
    one = keys_pb2.CreateKeyRequest(settings=keys_pb2.KeySettings(user_id="bulk"))
    made = [await keys.CreateKey(one, metadata=ADMIN, timeout=60) for _ in range(2)]
    limit = keys_pb2.UpdateUserKeysRequest(user_id="bulk", settings=keys_pb2.KeySettings(rpm_limit=1))
    assert 2 == (await keys.UpdateUserKeys(limit, metadata=ADMIN, timeout=60)).changed
    own = (("authorization", f"Bearer {made[0].secret}"),)

    async def works() -> bool:
        call = gateway.Ask(QUESTION, metadata=own, timeout=60)
        return bool(await call.code() is grpc.StatusCode.OK)

    await eventually(lambda: _not(works))
    reset = keys_pb2.ResetLimitsRequest(key_id=made[0].key.key_id)
    await keys.ResetLimits(reset, metadata=ADMIN, timeout=60)
    await eventually(works)
    ended = keys_pb2.RevokeUserKeysRequest(user_id="bulk")
    assert 2 == (await keys.RevokeUserKeys(ended, metadata=ADMIN, timeout=60)).revoked


async def _not(check: Callable[[], Awaitable[bool]]) -> bool:
    return not await check()


RPCS = [method.name for method in keys_pb2.DESCRIPTOR.services_by_name["KeyService"].methods]


@pytest.mark.parametrize("rpc", RPCS)
@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", grpc.StatusCode.UNAUTHENTICATED),
        ("sk-lumni-unknown", grpc.StatusCode.UNAUTHENTICATED),
        (API_KEY, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_every_rpc_is_closed_to_strangers_and_users(
    channel: grpc.aio.Channel, rpc: str, key: str, code: grpc.StatusCode
) -> None:
    stub: Any = keys_pb2_grpc.KeyServiceStub(channel)
    request = getattr(keys_pb2, f"{rpc}Request")()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(stub, rpc)(request, metadata=(("authorization", f"Bearer {key}"),), timeout=60)

    assert code is caught.value.code()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (keys_pb2.KeySettings(rpm_limit=-1), "rpm_limit"),
        (keys_pb2.KeySettings(plan="golden"), "plan"),
        (keys_pb2.KeySettings(budget_period="year"), "budget_period"),
        (keys_pb2.KeySettings(budget_nano_usd=-1), "budget_usd"),
        (keys_pb2.KeySettings(user_id="a b"), "user_id"),
        (keys_pb2.KeySettings(metadata_json="[1]"), "metadata"),
        (keys_pb2.KeySettings(metadata_json="{"), "metadata_json"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused_by_field(
    channel: grpc.aio.Channel, settings: keys_pb2.KeySettings, field: str
) -> None:
    stub: Any = keys_pb2_grpc.KeyServiceStub(channel)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateKey(keys_pb2.CreateKeyRequest(settings=settings), metadata=ADMIN, timeout=60)

    assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()
    assert (caught.value.details() or "").startswith(field)


@pytest.mark.parametrize(
    ("rpc", "request_of", "field"),
    [
        ("GetKey", keys_pb2.GetKeyRequest(key_id="a\0b"), "key_id"),
        ("GetKey", keys_pb2.GetKeyRequest(), "key_id"),
        ("ListKeys", keys_pb2.ListKeysRequest(after="\0"), "after"),
        ("UpdateKey", keys_pb2.UpdateKeyRequest(key_id="\0"), "key_id"),
        ("RotateKey", keys_pb2.RotateKeyRequest(key_id="k", idempotency_key="\0"), "idempotency_key"),
        ("RevokeKey", keys_pb2.RevokeKeyRequest(key_id="a" * 129), "key_id"),
        ("ResetLimits", keys_pb2.ResetLimitsRequest(key_id="\0"), "key_id"),
        ("UpdateUserKeys", keys_pb2.UpdateUserKeysRequest(user_id="ida"), "settings"),
        ("UpdateUserKeys", keys_pb2.UpdateUserKeysRequest(), "user_id"),
        ("RevokeUserKeys", keys_pb2.RevokeUserKeysRequest(user_id="\0"), "user_id"),
    ],
)
async def test_an_id_that_nothing_can_have_is_refused_by_field(
    channel: grpc.aio.Channel, rpc: str, request_of: Any, field: str
) -> None:
    stub: Any = keys_pb2_grpc.KeyServiceStub(channel)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(stub, rpc)(request_of, metadata=ADMIN, timeout=60)

    assert field == status.from_rpc(caught.value).param
