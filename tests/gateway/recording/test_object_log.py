"""Records in S3-compatible storage, and that none of its moods holds anybody up."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

from services.chassis.config import Mistakes, Secret, from_environ
from services.gateway.recording import object_log, sinks
from services.gateway.recording.delivery import DROPPED, MOST_WAITING
from services.gateway.recording.object_log import ObjectLog
from services.gateway.recording.record import LONGEST, Content, Record
from services.gateway.recording.settings import ObjectStorage, Settings
from tests.gateway.conftest import eventually

# The id of a record that is always refused.
POISON = "poison"
KEYS = {"LUMNI_REQUEST_LOG_S3_KEY_ID": "id", "LUMNI_REQUEST_LOG_S3_SECRET": "canary-secret"}


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """The address of a server that speaks S3, with the bucket `logs`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    bucket(address).create()
    yield address
    server.stop()


def bucket(address: str):  # type: ignore[no-untyped-def]  # boto3 makes its classes as it runs
    client = boto3.resource(
        "s3",
        endpoint_url=address,
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    return client.Bucket("logs")


def record(ident: str, text: str = "hello") -> Record:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    one = Record({"request_id": ident, "model": "m"}, body, stream=False, began_ns=1_795_305_600_000_000_000)
    one.end()
    return one


def settings(address: str, where: str) -> Settings:
    return from_environ(
        Settings, {**KEYS, "LUMNI_REQUEST_LOG_S3": where, "LUMNI_REQUEST_LOG_S3_ENDPOINT": address}
    )


class Front:
    """Stands before the storage, and refuses, hangs or is gone as told."""

    def __init__(self) -> None:
        self.address = ""
        self.status = 503
        self.hangs = False
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self.asked += 1
        if self.hangs:
            await reader.read()
        else:
            status = 403 if POISON.encode() in head else self.status
            writer.write(
                b'HTTP/1.1 %d x\r\netag: "e"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n' % status
            )
        writer.close()


@asynccontextmanager
async def standing() -> AsyncIterator[Front]:
    front = Front()
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0)
    async with server:
        front.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield front


async def test_an_object_is_named_and_made_as_a_file_is(storage: str) -> None:
    async with sinks.opened(settings(storage, "s3://logs/llm/eu"), None) as (sink,):
        sink.add(record("r1", "hello, my key is sk-test-0123456789ab"))

    (found,) = await asyncio.to_thread(lambda: list(bucket(storage).objects.filter(Prefix="llm/")))
    assert "llm/eu/20261122T000000.000Z_m_r1.json" == found.key
    answer = await asyncio.to_thread(found.get)
    assert "application/json" == answer["ContentType"]
    assert (
        "hello, my key is [redacted]"
        == json.loads(answer["Body"].read())["request"]["messages"][0]["content"]
    )


@pytest.mark.parametrize("fault", ["slow", "refusing", "gone"])
async def test_what_it_does_not_take_waits_in_bounds_and_is_logged_once(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing() as front:
        front.hangs, front.status = fault == "slow", 403
        address = front.address if fault != "gone" else "http://127.0.0.1:1"
        where = settings(address, "s3://logs").objects
        log = ObjectLog(where, Content.NONE, timeout_s=0.2)
        fit = MOST_WAITING // record("r", "x" * (LONGEST // 2)).size
        before = DROPPED.labels("object_storage")._value.get()
        async with log.delivering():
            for number in range(fit + 7):
                log.add(record(f"r{number}", "x" * (LONGEST // 2)))
            assert 7 == DROPPED.labels("object_storage")._value.get() - before

            async def noticed() -> bool:
                return "not written to the object storage" in caplog.text

            await eventually(noticed)
        # Counted when the process ends.
        assert fit + 7 == DROPPED.labels("object_storage")._value.get() - before
    lines = [one.message for one in caplog.records if "not written" in one.message]
    assert 1 == len(lines)
    assert "canary-secret" not in lines[0]


async def test_what_waits_is_written_when_the_storage_is_back(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_log, "RETRY_S", 0.05)
    log = ObjectLog(settings(storage, "s3://later/back").objects, Content.NONE)
    later = bucket(storage).meta.client
    async with log.delivering():
        for number in range(40):
            log.add(record(f"r{number}"))

        async def noticed() -> bool:
            return log._outage.active

        # There is no such bucket yet.
        await eventually(noticed)
        await asyncio.to_thread(later.create_bucket, Bucket="later")

        async def written() -> bool:
            listed = await asyncio.to_thread(later.list_objects_v2, Bucket="later")
            return bool(listed["KeyCount"] == 40)

        await eventually(written)


async def test_an_object_that_alone_is_refused_is_given_up() -> None:
    before = DROPPED.labels("object_storage")._value.get()
    async with standing() as front:
        front.status = 200
        log = ObjectLog(settings(front.address, "s3://logs").objects, Content.NONE)
        async with log.delivering():
            log.add(record(POISON))
            log.add(record("good"))

    # Tried once, beside the other one.
    assert 2 == front.asked
    assert 1 == DROPPED.labels("object_storage")._value.get() - before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LUMNI_REQUEST_LOG_S3", "logs/llm"),
        ("LUMNI_REQUEST_LOG_S3", "s3:///llm"),
        ("LUMNI_REQUEST_LOG_S3_ENDPOINT", "minio:9000"),
        ("LUMNI_REQUEST_LOG_S3_KEY_ID", "id"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: str) -> None:
    with pytest.raises(Mistakes, match=f"{name}.*: expected"):
        from_environ(Settings, {name: value})


def test_the_secret_is_never_shown() -> None:
    assert "canary-secret" not in repr(
        ObjectStorage(address="s3://logs", key_id="id", secret=Secret("canary-secret"))
    )
