"""Messages are bounded in bytes, in fields, in time, and in what all of them hold together."""

import asyncio
import gc
import weakref
from typing import Any

import grpc
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb

from services.chassis import errors, rpc, status
from services.chassis.rpc import receiving
from services.chassis.rpc.receiving import MOST_FIELDS
from tests.chassis.test_rpc_admission import CLASSIFY, KEY, MIB, Counting, code, never, served


async def fault(call: Any) -> Any:
    """What a call that fails is told."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return status.from_rpc(caught.value)


def long(mib: int) -> bytes:
    message = pb.ClassifyRequest(messages=[chat_pb2.Message(text="a" * mib * MIB)])
    return message.SerializeToString()


async def test_messages_under_way_have_a_bound_together_and_give_their_bytes_back() -> None:
    servicer = Counting()
    servicer.gate.clear()
    async with served(servicer, rpc.Settings(max_message_mib=32)) as channel:
        classify = channel.unary_unary(CLASSIFY)
        held = [asyncio.ensure_future(_done(classify(long(12), metadata=KEY, timeout=60))) for _ in range(2)]
        while servicer.calls < 2:
            await asyncio.sleep(0.01)
        refused = await fault(classify(long(12), metadata=KEY, timeout=60))
        assert "too many bytes of messages" in refused.message
        assert refused.retry_after_s
        # A small one has room beside them.
        small = asyncio.ensure_future(_done(classify(b"", metadata=KEY, timeout=60)))
        while servicer.calls < 3:
            await asyncio.sleep(0.01)
        servicer.gate.set()
        await asyncio.gather(*held, small)
        await classify(long(12), metadata=KEY, timeout=60)

    assert 4 == servicer.calls


async def test_a_tenant_with_long_messages_under_way_leaves_room_for_those_of_others() -> None:
    servicer = Counting()
    servicer.gate.clear()
    async with served(servicer, rpc.Settings(max_message_mib=32)) as channel:

        def classify(tenant: str) -> Any:
            return channel.unary_unary(CLASSIFY)(long(12), metadata=(*KEY, ("tenant", tenant)), timeout=60)

        held = [asyncio.ensure_future(_done(classify("a")))]
        while servicer.calls < 1:
            await asyncio.sleep(0.01)
        refused = await fault(classify("a"))
        held.append(asyncio.ensure_future(_done(classify("b"))))
        while servicer.calls < 2:
            await asyncio.sleep(0.01)
        servicer.gate.set()
        await asyncio.gather(*held)

    assert "too many bytes of messages of your organization, or of yours, are" in refused.message


async def _done(call: Any) -> None:
    await call


async def test_a_message_that_is_refused_gives_its_bytes_back() -> None:
    servicer = Counting()
    async with served(servicer, rpc.Settings(max_message_mib=32)) as channel:
        for _ in range(5):
            undecodable = channel.unary_unary(CLASSIFY)(b"\xff" * 12 * MIB, metadata=KEY, timeout=60)
            assert grpc.StatusCode.INVALID_ARGUMENT is await code(undecodable)

    assert 0 == servicer.calls


async def test_what_a_failed_call_held_waits_for_no_garbage_collector() -> None:
    class Held:
        pass

    seen: list[weakref.ref[Held]] = []

    class Failing(Counting):
        async def Classify(self, request: pb.ClassifyRequest, context: object) -> pb.ClassifyResponse:
            held = Held()
            seen.append(weakref.ref(held))
            raise errors.Invalid("no")

    async with served(Failing()) as channel, asyncio.timeout(60):
        gc.disable()
        try:
            await fault(channel.unary_unary(CLASSIFY)(long(1), metadata=KEY, timeout=60))
            # The caller may know of its end before the call's task has come to it.
            while seen[0]() is not None:
                await asyncio.sleep(0.01)
        finally:
            gc.enable()


@pytest.mark.parametrize(
    ("field", "told"),
    [
        (b"\x12\x00", "more than 8192 fields"),
        # Of another version, and so unknown here: as a number, as eight bytes, as four.
        (b"\xf8\x07\x80\x01", "more than 8192 fields"),
        (b"\xf9\x07" + bytes(8), "more than 8192 fields"),
        (b"\xfd\x07" + bytes(4), "more than 8192 fields"),
        # A group, and a number without an end.
        (b"\x7b\x7c", "cannot be decoded"),
        (b"\x80", "cannot be decoded"),
    ],
)
async def test_a_message_of_many_fields_is_refused_before_it_is_decoded(field: bytes, told: str) -> None:
    servicer = Counting()
    async with served(servicer) as channel:
        many = channel.unary_unary(CLASSIFY)(field * (MOST_FIELDS + 1), metadata=KEY, timeout=10)
        assert told in (await fault(many)).message

    assert 0 == servicer.calls


async def test_as_many_fields_as_are_allowed_pass() -> None:
    servicer = Counting()
    async with served(servicer) as channel:
        text = pb.ClassifyRequest(messages=[chat_pb2.Message(text="a")]).SerializeToString()
        await channel.unary_unary(CLASSIFY)(text * MOST_FIELDS, metadata=KEY, timeout=10)

    assert 1 == servicer.calls


async def test_only_a_few_messages_may_come_slowly_and_prompt_ones_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiving, "PROMPT_S", 0.05)
    monkeypatch.setattr(receiving, "MOST_SLOW", 2)
    servicer = Counting()
    async with served(servicer) as channel:
        send = channel.stream_unary(CLASSIFY)
        slow = [send(never(), metadata=KEY, timeout=60) for _ in range(3)]
        ended, _ = await asyncio.wait(
            [asyncio.ensure_future(code(call)) for call in slow], return_when=asyncio.FIRST_COMPLETED
        )
        assert [grpc.StatusCode.RESOURCE_EXHAUSTED] == [one.result() for one in ended]
        # What a busy machine reads in time.
        monkeypatch.setattr(receiving, "PROMPT_S", 60)
        await channel.unary_unary(CLASSIFY)(b"", metadata=KEY, timeout=60)
        for call in slow:
            call.cancel()

    assert 1 == servicer.calls
