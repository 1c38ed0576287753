"""Decisions on their way to the ledger, with Redis and without."""

from typing import Any

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.events.v1 import events_pb2

from services.chassis import redis, redis_keys
from services.gateway.peers.decisions import BATCH, DROPPED, DecisionPublisher


def event(request_id: str) -> events_pb2.DecisionEvent:
    return events_pb2.DecisionEvent(context=chat_pb2.RequestContext(request_id=request_id))


async def published(client: redis.Redis) -> list[str]:
    """The request ids in the stream."""
    entries: Any = await client.xrange(redis_keys.DECISION_STREAM)
    values = [fields[redis_keys.EVENT_FIELD.encode()] for _, fields in entries]
    return [events_pb2.DecisionEvent.FromString(value).context.request_id for value in values]


def dropped() -> float:
    return sum(
        sample.value for metric in DROPPED.collect() for sample in metric.samples if "total" in sample.name
    )


async def test_what_was_published_is_in_the_stream_in_order_when_the_block_ends(client: redis.Redis) -> None:
    publisher = DecisionPublisher(client)
    ids = [f"r{number}" for number in range(BATCH + 1)]
    async with publisher.publishing():
        for ident in ids:
            publisher.publish(event(ident))

    assert ids == await published(client)


async def test_without_redis_the_newest_stay_pending_and_all_that_is_lost_is_counted(
    unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    before = dropped()
    async with redis.connect(f"redis://127.0.0.1:{unused_tcp_port}", timeout_s=0.2) as nowhere:
        publisher = DecisionPublisher(nowhere, most_pending=3)
        async with publisher.publishing():
            for number in range(5):
                publisher.publish(event(f"r{number}"))

    assert 5 == dropped() - before
    assert any(one.startswith("decisions cannot be published") for one in caplog.messages)
