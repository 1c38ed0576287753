"""A forked service is what the command line starts: its settings, its log, its signals, its end."""

import signal
from pathlib import Path

import psutil
import pytest

from services.chassis import rpc
from services.local import ports
from services.local.server import Failed, started
from services.local.service import Service, grpc_health
from tests.forked_service import ForkedService, kept


def classifier(kind: type[Service], log: Path, **settings: str) -> Service:
    listen = f"127.0.0.1:{ports.free()}"
    return kind(
        "classifier",
        "services.classifier",
        environ={**kept(), "LUMNI_LISTEN": listen, **settings},
        log=log,
        is_ready=grpc_health(listen, rpc.Settings()),
    )


async def test_a_fork_serves_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    async with started(classifier(ForkedService, tmp_path / "log")) as service:
        running = service.exit_code

    assert (None, 0) == (running, service.exit_code)
    assert service.pid is None
    assert "classifier listening on" in (tmp_path / "log").read_text()


async def test_a_fork_can_be_paused_and_killed_and_started_again(tmp_path: Path) -> None:
    service = classifier(ForkedService, tmp_path / "log")
    await service.start()
    first = service.pid
    assert first is not None

    service.pause()
    service.kill()

    assert -signal.SIGKILL == service.exit_code
    assert not psutil.pid_exists(first)
    async with started(service):
        assert service.pid not in (None, first)


async def test_a_fork_names_mistakes_in_its_settings_as_the_command_line_does(tmp_path: Path) -> None:
    said = []
    for kind in (ForkedService, Service):
        service = classifier(kind, tmp_path / kind.__name__, LUMNI_LOG_LEVEL="loud")
        with pytest.raises(Failed, match="ended with code 2"):
            await service.start()
        said.append(service.last_words())

    assert "LUMNI_LOG_LEVEL" in said[0]
    assert said[0] == said[1]
