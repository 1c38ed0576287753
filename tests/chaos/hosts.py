"""Hosts of a network of our own: network namespaces that hang on one switch, which is a process of ours.

A namespace is held by a file descriptor and a link by the switch, so that nothing is left behind, however this process
ends. The links are TUN devices because Linux' own emulation of bad networks (netem) is a module that many kernels lack.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

# For tests of network devices (RFC 2544): no host's own network.
NETWORK = IPv4Network("198.18.0.0/24")
# Bytes of a packet: as on loopback, so that the switch has few of them to pass on.
MTU = 65_000
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
START_S = 30
# Where servers listen: a connection that begins at such a port would keep a restarting server from having it.
RESERVED = "8080,50050"
RESERVED_PORTS = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
# The network namespace of the thread that opens it.
NAMESPACE = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


class NotAllowed(Exception):
    """This machine does not let us make hosts; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace with one address."""

    name: str
    address: str
    # Keeps the namespace.
    _namespace: int

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be on this host: what this thread opens and starts is there. Nothing else may run in the thread meanwhile."""
        with _returning():
            self.move_in()
            yield

    def move_in(self) -> None:
        """Move this thread here for good."""
        _call("setns", self._namespace, CLONE_NEWNET)

    def close(self) -> None:
        """Let go of the namespace, which lives on while a process or a link does."""
        os.close(self._namespace)


class Network:
    """The hosts, and what is wrong between them."""

    def __init__(self, hosts: Sequence[Host], switch: asyncio.subprocess.Process) -> None:
        self._by_name = {host.name: host for host in hosts}
        self._switch = switch

    def __getitem__(self, name: str) -> Host:
        return self._by_name[name]

    async def degrade(
        self, *, apart: Sequence[tuple[str, str]] = (), delay_ms: float = 0.0, loss: float = 0.0
    ) -> None:
        """Replace what is wrong: nothing by default.

        Args:
            apart: Hosts between which no packet passes.
            delay_ms: By how much each packet is late.
            loss: The share of packets that are lost.
        """
        pairs = [sorted(self[name].address for name in pair) for pair in apart]
        order = {"apart": pairs, "delay_ms": delay_ms, "loss": loss}
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(order).encode() + b"\n")
        await self._switch.stdin.drain()
        async with asyncio.timeout(START_S):
            await self._switch.stdout.readline()

    async def passed(self) -> dict[str, int]:
        """How many packets the switch has passed on and dropped so far."""
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(b"{}\n")
        async with asyncio.timeout(START_S):
            counted: dict[str, int] = json.loads(await self._switch.stdout.readline())
        return counted


@asynccontextmanager
async def network(names: Sequence[str]) -> AsyncIterator[Network]:
    """Make hosts that reach one another, and this process as the host `names[0]`, until the block ends.

    Raises:
        NotAllowed: what the machine does not allow.
    """
    program = shutil.which("ip")
    if program is None:
        raise NotAllowed("there is no `ip` here; on Debian and Ubuntu: apt-get install iproute2")
    links: list[int] = []
    hosts: list[Host] = []
    async with AsyncExitStack() as ends:
        with ExitStack() as unplugged:
            for name, address in zip(names, NETWORK.hosts(), strict=False):
                host, link = _plug_in(program, name, str(address))
                ends.callback(host.close)
                unplugged.callback(os.close, link)
                hosts.append(host)
                links.append(link)
            switch = await _switch(hosts, links)
        ends.push_async_callback(_end, switch)
        ends.enter_context(_returning())
        hosts[0].move_in()
        yield Network(hosts, switch)


def _plug_in(program: str, name: str, address: str) -> tuple[Host, int]:
    """A new host, and the file that its packets come from and go to."""
    with _returning():
        try:
            _call("unshare", CLONE_NEWNET)
        except OSError as error:
            raise NotAllowed(
                f"network namespaces are not allowed here ({error.strerror}); run as root"
            ) from None
        namespace = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            link = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(link, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TUN | IFF_NO_PI))
        except OSError as error:
            raise NotAllowed(f"/dev/net/tun: {error.strerror}; links between hosts need it") from None
        for words in (
            "link set lo up",
            f"address add {address}/{NETWORK.prefixlen} dev eth0",
            f"link set eth0 up mtu {MTU}",
        ):
            subprocess.run([program, *words.split()], check=True, timeout=START_S)
        RESERVED_PORTS.write_text(RESERVED)
    return Host(name, address, namespace), link


async def _switch(hosts: Sequence[Host], links: Sequence[int]) -> asyncio.subprocess.Process:
    pairs = [f"{host.address}={link}" for host, link in zip(hosts, links, strict=True)]
    command = [sys.executable, "-m", "tests.chaos.switch", *pairs]
    switch = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=links
    )
    assert switch.stdout is not None
    async with asyncio.timeout(START_S):
        if not await switch.stdout.readline():
            raise NotAllowed("the switch between the hosts did not start")
    return switch


async def _end(switch: asyncio.subprocess.Process) -> None:
    assert switch.stdin is not None
    switch.stdin.close()
    await asyncio.wait_for(switch.wait(), START_S)


@contextmanager
def _returning() -> Iterator[None]:
    """Bring this thread back to the namespace that it is in."""
    home = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _call("setns", home, CLONE_NEWNET)
        os.close(home)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
