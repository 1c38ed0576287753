"""lumni logs: what it lists, filters and sums of the files of requests."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.gateway.cli import commands
from services.gateway.recording.record import Content, Record

# A busy machine takes a while to start a process, in seconds.
DEADLINE_S = 60


def write(folder: Path, number: int, model: str, *, tokens: int = 0, failed: bool = False) -> None:
    about = {"request_id": f"id-{number}", "model": model}
    one = Record(about, b"{}", stream=False, began_ns=1_795_305_600_000_000_000 + number * 1_000_000_000)
    one.taken = {
        "answered_by": f"{model}@openai",
        "usage": {"prompt_tokens": tokens, "completion_tokens": 1},
        "cost_nano_usd": 500_000_000,
    }
    one.end({"reason": "UNAVAILABLE", "message": "every provider failed"} if failed else None)
    (folder / one.name).write_bytes(one.written(Content.NONE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, 1, "small", tokens=10)
    write(tmp_path, 2, "large", tokens=200, failed=True)
    write(tmp_path, 3, "small", tokens=1000)
    # Cut by a disk that was full.
    (tmp_path / "20261122T000009.000Z_small_id-9.json").write_text('{"time"')
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        commands.main(["logs", *arguments])
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def rows(shown: str, column: int = -1) -> list[str]:
    return [line.split()[column] for line in shown.splitlines()[2:] if line.strip()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["id-1", "id-2", "id-3"]),
        (("--errors",), ["id-2"]),
        (("--model", "small"), ["id-1", "id-3"]),
        (("--last", "1"), ["id-3"]),
    ],
)
def test_requests_are_listed_the_newest_last(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], expected: list[str]
) -> None:
    assert expected == rows(run(capsys, str(folder), *options))


def test_tokens_and_cost_are_summed_by_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, str(folder), "--tokens")

    found = [line.split() for line in shown.splitlines()[2:] if line.strip()]
    assert [
        ["large", "1", "1", "200", "1", "0.5"],
        ["small", "2", "0", "1,010", "2", "1"],
        ["all", "3", "1", "1,210", "3", "1.5"],
    ] == found


@pytest.fixture
async def followed(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[asyncio.StreamReader]:
    """What a process prints that follows the folder, from its first line on; ended by Ctrl-C."""
    command = ("-m", "services.gateway.cli.commands", "logs", str(folder), "--follow", *request.param)
    # As users run it: into a pipe Python writes blocks.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with not_ignored(signal.SIGINT):
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=environ, stdout=asyncio.subprocess.PIPE
        )
    assert process.stdout
    yield process.stdout
    process.send_signal(signal.SIGINT)
    rest = await asyncio.wait_for(process.stdout.read(), DEADLINE_S)
    await process.wait()
    assert b"id-" not in rest, "a request was printed twice"


@contextmanager
def not_ignored(number: signal.Signals) -> Iterator[None]:
    """Start processes that a signal ends, where pytest itself ignores it: shells start what is in the background so."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


async def until(printed: asyncio.StreamReader, request_id: str) -> list[str]:
    """The requests that are printed until one is."""
    found: list[str] = []
    async with asyncio.timeout(DEADLINE_S):
        while request_id not in found:
            line = await printed.readline()
            assert line, "the process ended"
            found += [word for word in line.decode().split() if word.startswith("id-")]
    return found


@pytest.mark.parametrize(
    ("followed", "known", "coming"),
    [
        ((), ["id-1", "id-2", "id-3"], ["id-4", "id-5"]),
        (("--errors",), ["id-2"], ["id-5"]),
    ],
    indirect=["followed"],
)
async def test_those_that_come_are_printed_once_as_they_come(
    folder: Path, followed: asyncio.StreamReader, known: list[str], coming: list[str]
) -> None:
    assert known == await until(followed, known[-1])

    write(folder, 4, "small")
    write(folder, 5, "small", failed=True)
    assert coming == await until(followed, "id-5")
    # By then it has looked at the others again.
    write(folder, 6, "small", failed=True)
    assert ["id-6"] == await until(followed, "id-6")


def test_a_folder_that_is_missing_is_named_with_the_setting_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"there is no such folder; LUMNI_REQUEST_LOG_DIR"):
        commands.main(["logs", str(tmp_path / "none")])


def test_the_folder_of_the_setting_is_meant_when_none_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUMNI_REQUEST_LOG_DIR", str(folder))
    assert 3 == len(rows(run(capsys)))
    assert json.loads(next(folder.glob("*id-1.json")).read_text())["request_id"] == "id-1"
