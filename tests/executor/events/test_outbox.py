"""Usage events reach the ledger, whatever happens to Redis, the disk or this process."""

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
import redis.asyncio as redis_client
from lumni.chat.v1 import chat_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2 as pb
from prometheus_client import REGISTRY

from services.chassis import errors, redis, redis_keys
from services.chassis.operations import Operation
from services.executor.attempts import messages
from services.executor.attempts.model import Attempt, AttemptState, Work
from services.executor.events import outbox as outbox_module
from services.executor.events import stream
from services.executor.events.outbox import Outbox
from services.executor.events.spool import Segment, abandoned, read
from services.local.valkey import Valkey
from tests.executor.fleet import deployment

WORK = Work(
    request_id="r",
    operation=Operation.CHAT,
    body={},
    stream=True,
    candidates=(),
    deadline=0,
    origin=messages.Origin(pb.ExecuteRequest(context=chat_pb2.RequestContext(request_id="r", tenant="t"))),
)


def attempt(number: int, state: AttemptState = AttemptState.STARTED) -> Attempt:
    return Attempt(
        id=f"r/{number}",
        deployment=deployment("http://x"),
        max_cost_nano_usd=5,
        started_unix_us=1,
        state=state,
    )


@asynccontextmanager
async def publishing(outbox: Outbox) -> AsyncIterator[Outbox]:
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def published(url: str) -> list[tuple[str, int]]:
    async with redis_client.from_url(url) as client:
        entries: Any = await client.xrange(redis_keys.USAGE_STREAM)
    events = [events_pb2.UsageEvent.FromString(entry[b"event"]) for _, entry in entries]
    return [(one.attempt.id, one.kind) for one in events]


async def until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


def spooled(folder: Path) -> list[str]:
    return [
        events_pb2.UsageEvent.FromString(event).attempt.id
        for path in sorted(folder.glob("*.usage"))
        for event in read(path)
    ]


async def test_a_started_attempt_is_in_the_stream_before_it_goes_on(valkey: str, tmp_path: Path) -> None:
    client = redis.connect(valkey, timeout_s=2)
    async with publishing(Outbox(client, tmp_path)) as outbox:
        await outbox.started(WORK, attempt(1))
        assert await published(valkey) == [("r/1", events_pb2.USAGE_KIND_STARTED)]
        outbox.ended(WORK, attempt(1, AttemptState.FINAL))
    assert await published(valkey) == [
        ("r/1", events_pb2.USAGE_KIND_STARTED),
        ("r/1", events_pb2.USAGE_KIND_FINAL),
    ]
    assert list(tmp_path.iterdir()) == []
    await client.aclose()


async def test_an_event_holds_all_that_the_ledger_needs(valkey: str, tmp_path: Path) -> None:
    client = redis.connect(valkey, timeout_s=2)
    async with publishing(Outbox(client, tmp_path)) as outbox:
        await outbox.started(WORK, attempt(1))
    async with redis_client.from_url(valkey) as raw:
        entries: Any = await raw.xrange(redis_keys.USAGE_STREAM)
    [(_, entry)] = entries
    event = events_pb2.UsageEvent.FromString(entry[redis_keys.EVENT_FIELD.encode()])

    assert event.context.tenant == "t"
    assert event.max_cost_nano_usd == 5
    assert event.operation == pb.OPERATION_CHAT
    assert event.stream
    assert (event.attempt.deployment, event.attempt.model) == ("public@openai", "public")
    await client.aclose()


async def test_without_redis_events_are_on_disk_before_the_attempt_goes_on(tmp_path: Path) -> None:
    async with publishing(Outbox(None, tmp_path)) as outbox:
        await outbox.started(WORK, attempt(1))
        assert spooled(tmp_path) == ["r/1"]
        outbox.ended(WORK, attempt(1, AttemptState.FINAL))
    assert spooled(tmp_path) == ["r/1", "r/1"]


async def test_the_spool_is_replayed_when_redis_returns_and_kept_until_the_ledger_has_it(
    make_valkey: Callable[[], Valkey], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_valkey()
    await server.start()
    client = redis.connect(server.url, timeout_s=1)
    async with publishing(Outbox(client, tmp_path)) as outbox:
        await outbox.started(WORK, attempt(1))
        server.pause()
        for number in range(2, 6):
            await outbox.started(WORK, attempt(number))
        assert spooled(tmp_path) == ["r/2", "r/3", "r/4", "r/5"]
        server.resume()

        async def all_published() -> bool:
            return {ident for ident, _ in await published(server.url)} == {
                f"r/{number}" for number in range(1, 6)
            }

        await until(all_published)
        assert spooled(tmp_path) == ["r/2", "r/3", "r/4", "r/5"]
        # The ledger reads and acknowledges everything.
        async with redis_client.from_url(server.url) as ledger:
            await ledger.xgroup_create(redis_keys.USAGE_STREAM, redis_keys.LEDGER_GROUP, id="0")
            read_: Any = await ledger.xreadgroup(
                redis_keys.LEDGER_GROUP, "me", {redis_keys.USAGE_STREAM: ">"}
            )
            [[_, entries]] = read_ if isinstance(read_, list) else list(read_.items())
            await asyncio.sleep(1.2)
            assert spooled(tmp_path)
            await ledger.xack(
                redis_keys.USAGE_STREAM, redis_keys.LEDGER_GROUP, *[ident for ident, _ in entries]
            )
        await until(lambda: not spooled(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert sum("are spooled to disk" in record.message for record in caplog.records) == 1
    await client.aclose()


async def test_what_a_killed_process_left_behind_is_published_by_the_next(
    valkey: str, tmp_path: Path
) -> None:
    outbox = Outbox(None, tmp_path)
    task = asyncio.create_task(outbox.run())
    await outbox.started(WORK, attempt(1))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    [path] = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(base64.b64encode(b"torn by the kill")[:7])

    client = redis.connect(valkey, timeout_s=2)
    async with publishing(Outbox(client, tmp_path)):

        async def is_published() -> bool:
            return await published(valkey) == [("r/1", events_pb2.USAGE_KIND_STARTED)]

        await until(is_published)
    await client.aclose()


async def test_a_segment_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    mine = Segment(tmp_path / "1.usage")
    mine.append([b"event"])

    assert abandoned(tmp_path) == []
    mine.close()
    [found] = abandoned(tmp_path)
    assert found.read() == [b"event"]
    found.delete()
    assert list(tmp_path.iterdir()) == []


async def test_no_attempt_begins_when_neither_redis_nor_the_disk_takes_its_record(tmp_path: Path) -> None:
    async with publishing(Outbox(None, tmp_path)) as outbox:
        (tmp_path).rmdir()
        tmp_path.touch()
        with pytest.raises(errors.Unavailable) as caught:
            await outbox.started(WORK, attempt(1))
        # An end is never lost: it waits in memory until the disk is back.
        outbox.ended(WORK, attempt(1, AttemptState.FINAL))
        await asyncio.sleep(0.05)
        tmp_path.unlink()
        tmp_path.mkdir()
        await until(lambda: spooled(tmp_path) == ["r/1"])
    assert caught.value.reason == "LEDGER_UNAVAILABLE"


async def test_an_event_that_the_stream_rejects_is_spooled_until_it_takes_it(
    valkey: str, tmp_path: Path
) -> None:
    client = redis.connect(valkey, timeout_s=2)
    # Redis runs the transaction, and each of its appends fails.
    await client.set(redis_keys.USAGE_STREAM, "no stream")
    async with publishing(Outbox(client, tmp_path)) as outbox:
        await outbox.started(WORK, attempt(1))
        assert ["r/1"] == spooled(tmp_path)

        await client.delete(redis_keys.USAGE_STREAM)

        async def is_published() -> bool:
            return [("r/1", events_pb2.USAGE_KIND_STARTED)] == await published(valkey)

        await until(is_published)
    await client.aclose()


async def test_a_slow_redis_costs_one_short_wait_not_one_for_each_call(
    make_valkey: Callable[[], Valkey], tmp_path: Path
) -> None:
    server = make_valkey()
    await server.start()
    client = redis.connect(server.url, timeout_s=0.1)
    async with publishing(Outbox(client, tmp_path)) as outbox:
        server.pause()
        async with asyncio.timeout(15):
            for number in range(200):
                await outbox.started(WORK, attempt(number))
        server.resume()
    await client.aclose()


async def test_what_redis_lost_before_the_ledger_had_it_is_published_again(
    valkey: str, tmp_path: Path
) -> None:
    client = redis.connect(valkey, timeout_s=2)
    async with publishing(Outbox(client, tmp_path)) as outbox, redis_client.from_url(valkey) as raw:
        await raw.xgroup_create(redis_keys.USAGE_STREAM, redis_keys.LEDGER_GROUP, id="0", mkstream=True)
        await outbox.started(WORK, attempt(1))
        read: Any = await raw.xreadgroup(redis_keys.LEDGER_GROUP, "me", {redis_keys.USAGE_STREAM: ">"})
        await raw.xack(redis_keys.USAGE_STREAM, redis_keys.LEDGER_GROUP, *[ident for ident, _ in read[0][1]])
        await asyncio.sleep(1.2)
        await outbox.started(WORK, attempt(2))
        await raw.flushall()
        # A younger entry does not hide that an older one is gone.
        await outbox.started(WORK, attempt(3))
        await raw.xgroup_create(redis_keys.USAGE_STREAM, redis_keys.LEDGER_GROUP, id="$")

        async def published_again() -> bool:
            return [ident for ident, _ in await published(valkey)] == ["r/3", "r/2"]

        await until(published_again)
    await client.aclose()


def slowly(frame: FrameType, event: str, _: object) -> Any:
    """Make every line of the spool slow, in threads."""
    if frame.f_code.co_filename.endswith("spool.py"):
        time.sleep(0.005)
        return slowly
    return None


class TakesNoEvents:
    """A Redis that answers, but takes no transaction."""

    async def ping(self) -> bool:
        return True

    @property
    def connection_pool(self) -> Any:
        raise ConnectionError


async def test_a_replay_while_the_disk_is_slow_loses_no_event(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.gettrace()
    request.addfinalizer(lambda: threading.settrace(before))
    threading.settrace(slowly)
    monkeypatch.setattr(stream, "PAUSE_S", 0.0)
    async with publishing(Outbox(cast("Any", TakesNoEvents()), tmp_path)) as outbox:
        assert outbox._stream is not None
        async with asyncio.timeout(60):
            for number in range(1, 6):
                recorded = asyncio.create_task(outbox.started(WORK, attempt(number)))
                while not recorded.done():
                    await outbox._replay(outbox._stream)
                    await asyncio.sleep(0.001)
        assert REGISTRY.get_sample_value("lumni_usage_spooled_events") == 5
    assert sorted(spooled(tmp_path)) == [f"r/{number}" for number in range(1, 6)]


async def test_a_replay_that_stops_in_the_middle_starts_again_and_keeps_its_segment(
    valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "BATCH", 1)
    left = Segment(tmp_path / "1.usage")
    left.append(
        [events_pb2.UsageEvent(attempt=pb.Attempt(id=ident)).SerializeToString() for ident in ("a", "b")]
    )
    left.close()
    client = redis.connect(valkey, timeout_s=2)
    outbox = Outbox(client, tmp_path)
    assert outbox._stream is not None
    append, taken = outbox._stream.append, 0

    async def takes_one(events: Sequence[bytes]) -> list[stream.Appended] | None:
        nonlocal taken
        taken += 1
        return None if taken == 2 else await append(events)

    monkeypatch.setattr(outbox._stream, "append", takes_one)
    async with publishing(outbox):

        async def both_published() -> bool:
            return [ident for ident, _ in await published(valkey)] == ["a", "a", "b"]

        await until(both_published)
        assert spooled(tmp_path) == ["a", "b"]
    await client.aclose()


async def test_a_segment_without_a_whole_event_is_removed(
    valkey: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1.usage").write_bytes(base64.b64encode(b"torn")[:3])
    (tmp_path / "2.usage").touch()
    client = redis.connect(valkey, timeout_s=2)
    async with publishing(Outbox(client, tmp_path)):
        await until(lambda: list(tmp_path.iterdir()) == [])
    assert "replayed" not in caplog.text
    await client.aclose()


async def test_the_number_of_spooled_events_is_known_from_the_start(tmp_path: Path) -> None:
    left = Segment(tmp_path / "1.usage")
    left.append([b"one", b"two"])
    left.close()
    async with publishing(Outbox(None, tmp_path)) as outbox:
        assert REGISTRY.get_sample_value("lumni_usage_spooled_events") == 2
        await outbox.started(WORK, attempt(1))
        assert REGISTRY.get_sample_value("lumni_usage_spooled_events") == 3
