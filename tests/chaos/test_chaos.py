"""The drills' own tools: hosts whose links fail, and what a verdict takes for a mistake."""

import socket
import sys
from collections.abc import AsyncIterator

import pytest

from tests.chaos import __main__ as chaos
from tests.chaos import hosts, servers
from tests.chaos.hosts import Host, Network
from tests.chaos.scene import Excuse
from tests.chaos.traffic import Ended

PORT = 7


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    try:
        async with hosts.network(["here", "near", "far"]) as made:
            yield made
    except hosts.NotAllowed as problem:
        pytest.skip(str(problem))


def bound(host: Host) -> socket.socket:
    with host.entered():
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind((host.address, PORT))
    found.settimeout(30)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux'")
async def test_hosts_reach_one_another_unless_they_are_kept_apart(network: Network) -> None:
    with bound(network["here"]) as here, bound(network["near"]) as near, bound(network["far"]) as far:
        near.sendto(b"hello", (network["far"].address, PORT))
        assert (b"hello", (network["near"].address, PORT)) == far.recvfrom(16)

        await network.degrade(apart=[("far", "near")])
        near.sendto(b"to nobody", (network["far"].address, PORT))
        near.sendto(b"to the third", (network["here"].address, PORT))
        assert b"to the third" == here.recv(16)
        # The switch has had the packet for nobody before.
        far.settimeout(0)
        with pytest.raises(BlockingIOError):
            far.recv(16)
        assert 1 <= (await network.passed())["dropped"]

        await network.degrade()
        far.sendto(b"again", (network["near"].address, PORT))
        assert b"again" == near.recv(16)


def test_the_proxy_is_that_of_compose_with_addresses_for_docker_s_dns() -> None:
    gateways = [Host("gateway-0", "198.18.0.3", 0), Host("gateway-1", "198.18.0.4", 0)]

    found = servers._with_addresses(servers.PROXY_CONFIGURATION.read_text(), gateways)

    assert "  server gateway-1 198.18.0.4:8080\n" in found
    assert "  server gateway-0 198.18.0.3:50050 proto h2\n" in found
    assert "default-server check inter 2s fastinter 500ms fall 2 rise 1\n" in found
    assert "docker" not in "".join(line for line in found.splitlines() if not line.lstrip().startswith("#"))


@pytest.mark.parametrize(
    ("began", "took_s", "status", "covered"),
    [
        (9.0, 2.0, 503, True),
        (10.0, 0.5, 200, True),
        (9.0, 0.5, 503, False),
        (11.5, 1.0, 503, False),
        (9.0, 2.0, 500, False),
    ],
)
def test_only_what_was_under_way_may_fail_and_only_as_it_must(
    began: float, took_s: float, status: int, covered: bool
) -> None:
    excuse = Excuse("was under way", 10.0, 11.0)

    assert covered is excuse.covers(Ended("quick", began, status, took_s=took_s))


@pytest.mark.parametrize(("given", "lasts"), [([], (10, 30)), (["--minutes", "2"], (2, 2))])
def test_the_soak_lasts_longer_than_what_happens_each_minute_unless_told(
    monkeypatch: pytest.MonkeyPatch, given: list[str], lasts: tuple[float, float]
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos", *given])
    asked = chaos.arguments()

    assert lasts == (chaos.minutes("executors-killed", asked), chaos.minutes("soak", asked))
