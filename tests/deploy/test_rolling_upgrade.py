"""scripts/rolling_upgrade, with a program in place of docker that knows containers as files with their health."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "rolling_upgrade"
# Names of files are ids; `image` has the health of new containers, and `calls` what was asked.
DOCKER = """#!/usr/bin/env bash
set -eu
cd "$CONTAINERS"
echo "$*" >>../calls
service=${!#}
case "$*" in
"compose run"*) ;;
"compose ps"*) [ ! -e ../unreachable ] || exit 1; ls | grep "^$service-" || true ;;
"compose up"*)
  wanted=$(grep --only-matching --perl-regexp '(?<==)[0-9]+' <<<"$*")
  number=$(wc -l <../calls)
  while [ "$(ls | grep --count "^$service-")" -lt "$wanted" ]; do
    number=$((number + 1))
    cp ../image "$service-$number"
    [ ! -e ../full ] || exit 1
  done ;;
inspect*) cat "$service" ;;
logs*) echo "the log of $service" ;;
stop*) ;;
rm*) for one in "$@"; do rm -f "$one"; done ;;
esac
"""


class Host:
    """A host whose containers are files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.containers = folder, folder / "containers"
        self.containers.mkdir()
        docker = folder / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        for name in ("executor-a", "executor-b", "gateway-a"):
            (self.containers / name).write_text("healthy")
        self.build("healthy")

    def build(self, health: str) -> None:
        (self.folder / "image").write_text(health)

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environ = {"PATH": path, "CONTAINERS": str(self.containers)}
        environ |= {"KNOWN_AFTER_S": "0", "HEALTHY_WITHIN_S": "0"}
        return subprocess.run([SCRIPT], env=environ, capture_output=True, text=True, timeout=60, check=False)

    def running(self) -> set[str]:
        return {one.name for one in self.containers.iterdir()}

    def calls(self) -> str:
        return (self.folder / "calls").read_text()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_as_many_new_ones_take_the_place_of_the_old_ones(host: Host) -> None:
    before = host.running()

    done = host.upgrade()

    assert (0, "") == (done.returncode, done.stderr)
    assert not before & host.running()
    services = sorted(name.partition("-")[0] for name in host.running())
    assert ["executor", "executor", "gateway"] == services
    assert host.calls().index("run --rm --no-deps migrate") < host.calls().index("executor=4")
    assert host.calls().index("stop --time 610 executor-b") < host.calls().index("gateway=2")


def test_a_version_that_does_not_become_healthy_goes_and_a_mended_one_comes(host: Host) -> None:
    before = host.running()
    host.build("starting")

    failed = host.upgrade()

    assert 1 == failed.returncode
    assert "the log of executor-" in failed.stderr
    assert "is not healthy after 0 s" in failed.stderr
    assert before == host.running()
    assert "gateway=" not in host.calls()

    host.build("healthy")
    assert 0 == host.upgrade().returncode
    assert len(before) == len(host.running())
    assert not before & host.running()


def test_new_ones_that_were_started_before_starting_failed_finish_their_requests_and_go(host: Host) -> None:
    before = host.running()
    (host.folder / "full").touch()

    assert 0 != host.upgrade().returncode
    assert before == host.running()
    stopped, removed = (
        host.calls().index(text) for text in ("stop --time 610 executor-", "rm --force executor-")
    )
    assert stopped < removed


def test_an_old_one_that_is_unhealthy_does_not_hold_up_the_upgrade(host: Host) -> None:
    (host.containers / "executor-a").write_text("unhealthy")

    assert 0 == host.upgrade().returncode
    assert "executor-a" not in host.running()


def test_nothing_is_stopped_when_containers_cannot_be_listed(host: Host) -> None:
    before = host.running()
    (host.folder / "unreachable").touch()

    assert 0 != host.upgrade().returncode
    assert before == host.running()
