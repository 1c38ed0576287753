"""What runs on the hosts: every server of Lumni, its stores, the proxy in front and the provider simulator."""

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.chassis import rpc
from services.local.postgres import Postgres
from services.local.server import Server
from services.local.service import Service, grpc_health
from services.local.valkey import Valkey
from tests import tools
from tests.chaos.hosts import NETWORK, Host

PROXY_CONFIGURATION = tools.ROOT / "deploy" / "haproxy.cfg"
# The ports of compose.yaml.
REST, GRPC = 8080, 50050
LOOPBACK = "127.0.0.1"


class HostedPostgres(Postgres):
    """PostgreSQL on a host of its own."""

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(folder, settings={"listen_addresses": host.address})
        self._host = host

    def spawn(self) -> None:
        """Start it on its host."""
        with self._host.entered():
            super().spawn()

    def database(self, name: str) -> str:
        """The address of a database, from other hosts."""
        return super().database(name).replace(LOOPBACK, self._host.address)

    async def prepare(self) -> None:
        """As ever, and let other hosts in with the password."""
        await super().prepare()
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"{rules.read_text()}host all all {NETWORK} scram-sha-256\n")


class HostedValkey(Valkey):
    """Valkey on a host of its own."""

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(folder, settings={"bind": host.address})
        self._host = host

    def spawn(self) -> None:
        """Start it on its host."""
        with self._host.entered():
            super().spawn()

    @property
    def url(self) -> str:
        """Its address for whoever operates it, from other hosts."""
        return super().url.replace(LOOPBACK, self._host.address)

    def url_of(self, service: str) -> str:
        """Its address for a service, from other hosts."""
        return super().url_of(service).replace(LOOPBACK, self._host.address)


class HostedService(Service):
    """A process of Lumni's on a host of its own, whose clock may be set.

    Args:
        host: Where it runs.
        module: What it runs.
        port: Of its gRPC server; 0 has none.
        environ: Its variables.
        folder: Of its log and its clock's file.
    """

    def __init__(
        self,
        host: Host,
        module: str,
        *,
        port: int,
        environ: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.host = host
        self.address = f"{host.address}:{port}" if port else ""
        self._clock_file = folder / f"{host.name}.clock"
        # The library that sets its clock, once the drill is about that.
        self._clock: Path | None = None
        self._runs: tuple[str, ...] = (module,)
        super().__init__(
            host.name,
            module,
            environ=environ,
            log=folder / f"{host.name}.log",
            is_ready=grpc_health(self.address, rpc.Settings()) if port else None,
        )

    def spawn(self) -> None:
        """Start it on its host."""
        with self.host.entered():
            super().spawn()

    def command(self) -> Sequence[str]:
        """The interpreter, and the module with its arguments."""
        return [sys.executable, "-m", *self._runs]

    @contextmanager
    def running(self, module: str, *arguments: str) -> Iterator[None]:
        """Start another module in this one's place: another version."""
        usual, self._runs = self._runs, (module, *arguments)
        try:
            yield
        finally:
            self._runs = usual

    def environment(self) -> Mapping[str, str]:
        """Its variables, and those of the library that sets its clock."""
        if self._clock is None:
            return super().environment()
        return {
            **super().environment(),
            "LD_PRELOAD": str(self._clock),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
            # How soon a step is seen, in seconds. The monotonic clock has no steps.
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def own_clock(self) -> None:
        """Give the next start a clock of its own, which is right until it is set."""
        self._clock = tools.find("libfaketimeMT.so.1")
        self.set_clock(0)

    def set_clock(self, ahead_s: int) -> None:
        """Step its clock to so many seconds after the right time."""
        self._clock_file.write_text(f"{ahead_s:+d}")


class Proxy(Server):
    """HAProxy as compose.yaml runs it, with the gateways' addresses in place of Docker's DNS."""

    name = "proxy"

    def __init__(self, host: Host, gateways: Sequence[Host], folder: Path) -> None:
        super().__init__(folder / "proxy.log")
        self.host = host
        self._program = tools.find("haproxy")
        self._configuration = folder / "haproxy.cfg"
        self._configuration.write_text(_with_addresses(PROXY_CONFIGURATION.read_text(), gateways))

    @property
    def url(self) -> str:
        """Where callers ask."""
        return f"http://{self.host.address}:{REST}"

    def command(self) -> Sequence[str]:
        """HAProxy in the foreground, as one process."""
        return [str(self._program), "-db", "-f", str(self._configuration)]

    def environment(self) -> Mapping[str, str]:
        """Nothing but where its libraries are if it was unpacked."""
        return {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(self._program.parent)}

    def spawn(self) -> None:
        """Start it on its host."""
        with self.host.entered():
            super().spawn()

    async def answers(self) -> bool:
        """Whether it takes connections."""
        return await _connects(self.host.address, REST)


class HostedSimulator(Server):
    """The provider, on a host of its own."""

    name = "provider"

    def __init__(self, host: Host, folder: Path, keep: int) -> None:
        super().__init__(folder / "provider.log")
        self._host, self._keep = host, keep

    @property
    def url(self) -> str:
        """Where executors ask."""
        return f"http://{self._host.address}:{REST}"

    def command(self) -> Sequence[str]:
        """The simulator, which remembers so many requests."""
        arguments = ("--host", self._host.address, "--port", str(REST), "--keep", str(self._keep))
        return [sys.executable, "-m", "tests.simulator", *arguments]

    def spawn(self) -> None:
        """Start it on its host."""
        with self._host.entered():
            super().spawn()

    async def answers(self) -> bool:
        """Whether it takes connections."""
        return await _connects(self._host.address, REST)


def _with_addresses(configuration: str, gateways: Sequence[Host]) -> str:
    """deploy/haproxy.cfg for gateways at fixed addresses."""

    def servers(found: re.Match[str]) -> str:
        port, rest = found[1], found[2]
        return "\n".join(f"  server {host.name} {host.address}:{port}{rest}" for host in gateways)

    text = re.sub(r"  server-template gateway \d+ gateway:(\d+)(.*)", servers, configuration)
    text = re.sub(r"resolvers docker\n(?:  .*\n)+", "", text)
    return text.replace(" resolvers docker init-addr none", "")


async def _connects(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 0.5)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
