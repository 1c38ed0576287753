"""Files of requests: what is in them, how many bytes there may be, and that a slow disk holds nobody up."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from services.chassis.config import Mistakes, from_environ
from services.gateway.recording import redaction, sinks
from services.gateway.recording.delivery import DROPPED, MOST_WAITING
from services.gateway.recording.record import LONGEST, Content, Record, is_record
from services.gateway.recording.request_log import RequestLog
from services.gateway.recording.settings import Settings


def record(number: int = 1, text: str = "hello", *, stream: bool = False) -> Record:
    about = {"request_id": f"id-{number:04}", "model": "openai/small_1"}
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    return Record(about, body, stream=stream, began_ns=1_795_305_600_000_000_000 + number * 1_000_000)


def chunk(**delta: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta}]})


def files(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


def test_a_file_is_named_by_time_model_and_id_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "llm", Content.FULL, 1 << 20)
    one = record()
    one.add(json.dumps({"choices": []}))
    one.end()
    with log.writing():
        log.add(one)

    (path,) = (tmp_path / "llm").iterdir()
    assert "20261122T000000.001Z_openai-small-1_id-0001.json" == path.name
    assert 0o600 == path.stat().st_mode & 0o777
    found = json.loads(path.read_text())
    assert ("hello", {"choices": []}, None) == (
        found["request"]["messages"][0]["content"],
        found["response"],
        found["error"],
    )


@pytest.mark.parametrize(
    ("content", "seen", "hidden"),
    [
        (Content.NONE, ["id-0001"], ["hello", "sk-test-0123456789ab"]),
        (Content.REDACTED, ["hello"], ["sk-test-0123456789ab"]),
        (Content.FULL, ["hello", "sk-test-0123456789ab"], []),
    ],
)
def test_the_operator_chooses_what_is_written_of_texts(
    content: Content, seen: list[str], hidden: list[str]
) -> None:
    one = record(text="hello, my key is sk-test-0123456789ab")
    one.end()
    text = one.written(content).decode()

    assert all(word in text for word in seen)
    assert not any(word in text for word in hidden)


def test_a_secret_that_lies_across_the_chunks_of_a_stream_is_hidden() -> None:
    one = record(stream=True)
    for piece in ("my key is sk-te", "st-01234", "56789ab, keep it"):
        one.add(chunk(content=piece))
    one.add(chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"q": '}}]))
    one.add(chunk(tool_calls=[{"index": 0, "function": {"arguments": '"x"}'}}]))
    one.end()

    assert {
        "chunks": 5,
        "texts": {
            "0.content": "my key is [redacted], keep it",
            "0.tool_calls.0.function.arguments": '{"q": "x"}',
        },
    } == json.loads(one.written(Content.REDACTED))["response"]


def test_a_record_is_redacted_once_for_all_destinations(monkeypatch: pytest.MonkeyPatch) -> None:
    one = record(text="my key is sk-test-0123456789ab")
    one.add(json.dumps({"choices": []}))
    one.end()
    read: list[str] = []
    text = redaction.text

    def noted(found: str) -> str:
        read.append(found)
        return text(found)

    monkeypatch.setattr(redaction, "text", noted)
    sides = [one.sides(Content.REDACTED) for _ in range(3)]

    assert 1 == read.count("my key is sk-test-0123456789ab")
    assert sides[0] == sides[1] == sides[2]
    assert "my key is sk-test-0123456789ab" in str(one.sides(Content.FULL))


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"type": "response.output_text.delta", "output_index": 1, "delta": "hi"}, "1.text"),
        (
            {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "hi"}},
            "2.text",
        ),
        ({"choices": [{"index": 0, "text": "hi"}]}, "0.text"),
    ],
)
def test_streams_of_every_api_are_written_in_one_piece(event: dict[str, Any], name: str) -> None:
    one = record(stream=True)
    one.add(json.dumps(event))
    one.add(json.dumps(event))
    one.end()

    assert {name: "hihi"} == json.loads(one.written(Content.FULL))["response"]["texts"]


def test_what_is_too_long_is_cut_and_said_to_be() -> None:
    one = record(text="x" * LONGEST)
    one.add(json.dumps("y" * LONGEST))
    one.end()
    found = json.loads(one.written(Content.FULL))

    assert (None, None, ["request", "response"]) == (found["request"], found["response"], found["cut"])


def test_a_body_that_is_too_long_and_an_empty_one_count_for_what_they_hold() -> None:
    long = record(text="x" * 16 * LONGEST)

    assert b"" == long.request
    assert long.size == Record({}, b"", stream=False).size > 0
    assert record(text="x" * 1000).size > long.size + 1000


def test_many_short_chunks_count_for_the_memory_that_they_take() -> None:
    one = record(stream=True)
    before = one.size
    for _ in range(1000):
        one.add('{"choices": [{}]}')

    assert one.size - before > 1000 * sys.getsizeof("")


def test_the_oldest_files_make_room_and_files_of_others_stay(tmp_path: Path) -> None:
    most = 100_000
    (tmp_path / "notes.json").write_text("mine")
    log = RequestLog(tmp_path, Content.FULL, most)
    with log.writing():
        for number in range(300):
            one = record(number, text="x" * 1000)
            one.end()
            log.add(one)

    kept = sorted(path.name for path in tmp_path.iterdir() if is_record(path.name))
    size = sum((tmp_path / name).stat().st_size for name in kept)
    assert most / 2 < size < 1.1 * most
    assert kept[-1].endswith("id-0299.json")
    assert len(kept) == int(kept[-1][-9:-5]) - int(kept[0][-9:-5]) + 1
    assert "mine" == (tmp_path / "notes.json").read_text()


def test_what_a_frozen_disk_leaves_waiting_is_bounded_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thawed = threading.Event()
    written = RequestLog._write

    def frozen(self: RequestLog, one: Record) -> None:
        thawed.wait()
        written(self, one)

    monkeypatch.setattr(RequestLog, "_write", frozen)
    before = DROPPED.labels("file")._value.get()
    log = RequestLog(tmp_path, Content.NONE, 1 << 20)
    size = record(text="x" * 500_000).size
    fit = MOST_WAITING // size
    with log.writing():
        for number in range(fit + 7):
            log.add(record(number, text="x" * 500_000))
        assert 7 == DROPPED.labels("file")._value.get() - before
        thawed.set()

    assert fit == len(files(tmp_path))


def test_a_full_disk_is_counted_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: RequestLog, one: Record) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RequestLog, "_write", full)
    before = DROPPED.labels("file")._value.get()
    log = RequestLog(tmp_path, Content.NONE, 1 << 20)
    with log.writing():
        log.add(record(1))
        log.add(record(2))

    assert 2 == DROPPED.labels("file")._value.get() - before
    assert 1 == sum("request logs are not written" in one.message for one in caplog.records)


def test_a_write_that_fails_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    log = RequestLog(tmp_path, Content.NONE, 1 << 20)
    with log.writing():
        log.add(record())

    assert [] == list(tmp_path.iterdir())


def test_half_files_of_a_killed_process_are_deleted_and_those_that_are_being_written_stay(
    tmp_path: Path,
) -> None:
    old, new, other = (
        tmp_path / f"{name}.tmp"
        for name in ("20261121T000000.000Z_m_id-1", "20261122T000000.000Z_m_id-2", "mine")
    )
    for path in (old, new, other):
        path.write_text("{")
    for path in (old, other):
        os.utime(path, (0, 0))
    log = RequestLog(tmp_path, Content.NONE, 1 << 20)
    with log.writing():
        log.add(record())

    assert [False, True, True] == [path.exists() for path in (old, new, other)]


def test_a_file_that_another_worker_deletes_meanwhile_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / record(1).name).write_text("{}")
    listed = os.scandir

    def scandir(folder: Path) -> list[os.DirEntry[str]]:
        found = list(listed(folder))
        (tmp_path / record(1).name).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os, "scandir", scandir)
    log = RequestLog(tmp_path, Content.NONE, 1 << 20)
    with log.writing():
        log.add(record(2))

    assert [record(2).name] == [path.name for path in tmp_path.iterdir()]


async def test_a_folder_that_cannot_be_made_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = from_environ(Settings, {"LUMNI_REQUEST_LOG_DIR": str(tmp_path / "file" / "llm")})
    with pytest.raises(Mistakes, match="LUMNI_REQUEST_LOG_DIR"):
        async with sinks.opened(settings, None):
            pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LUMNI_REQUEST_LOG_CONTENT", "some"),
        ("LUMNI_REQUEST_LOG_MAX_MIB", "0"),
        ("LUMNI_TRACE_CONTENT", "yes"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: str) -> None:
    with pytest.raises(Mistakes, match=f"{name}: expected"):
        from_environ(Settings, {name: value})
