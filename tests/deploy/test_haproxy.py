"""The real HAProxy with deploy/haproxy.cfg, which finds gateways by DNS: who is asked, and who no more.

Only addresses differ from compose.yaml: they are of this machine's loopback network.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from aiohttp import web

from services.local.server import Server, started
from tests import tools
from tests.chaos.servers import GRPC, PROXY_CONFIGURATION, REST

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")

# Of this process: the ports are those of compose.yaml.
LOOPBACK = f"127.{1 + os.getpid() % 254}.{os.getpid() // 254 % 256}"
PROXY, ONE, OTHER = (f"{LOOPBACK}.{i}" for i in (1, 2, 3))
DNS_PORT = 5353
METHOD = "/test.Gateway/Who"
CALLS = 8
# Two checks of the proxy, on a machine that does much else.
SOON_S = 60

READY, NO_EXECUTOR, DRAINING = ("ok", 200), ("the executor does not answer", 503), ("draining", 503)


class Gateway:
    """What the proxy sees of a gateway: its readiness, and who answers by REST and by gRPC."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.says = READY

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer at both ports until the block ends."""
        application = web.Application()
        application.add_routes([web.get("/health/ready", self._ready), web.get("/who", self._who)])
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, self.address, REST).start()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([_Handler(self.address.encode())])
        server.add_insecure_port(f"{self.address}:{GRPC}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)
            await runner.cleanup()

    async def _ready(self, _: web.Request) -> web.Response:
        text, status = self.says
        return web.json_response({"status": text}, status=status)

    async def _who(self, _: web.Request) -> web.Response:
        return web.Response(text=self.address)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        async def who(_: bytes, __: Any) -> bytes:
            return self._answer

        return grpc.unary_unary_rpc_method_handler(who)


class Names(asyncio.DatagramProtocol):
    """Docker's DNS: the addresses of all gateways for whatever is asked, and none of IPv6."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = [bytes(int(part) for part in one.split(".")) for one in addresses]

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer a question (RFC 1035, 4.1); what the client says of itself behind it is left out."""
        ends = data.index(b"\0", 12) + 5
        question = data[12:ends]
        found = self._addresses if question[-4:-2] == b"\0\x01" else []
        head = data[:2] + b"\x81\x80\0\x01" + len(found).to_bytes(2, "big") + b"\0\0\0\0"
        records = b"".join(b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04" + one for one in found)
        self._transport.sendto(head + question + records, addr)


class Proxy(Server):
    """HAProxy at addresses of the loopback network."""

    name = "proxy"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "proxy.log")
        self._program = tools.find_or_skip("haproxy")
        self._configuration = folder / "haproxy.cfg"
        text = PROXY_CONFIGURATION.read_text()
        for ours, theirs in (
            (f"bind {PROXY}:", "bind :"),
            (f"nameserver dns {PROXY}:{DNS_PORT}", "nameserver dns 127.0.0.11:53"),
        ):
            assert theirs in text
            text = text.replace(theirs, ours)
        self._configuration.write_text(text)

    def command(self) -> Sequence[str]:
        """HAProxy in the foreground, as one process."""
        return [str(self._program), "-db", "-f", str(self._configuration)]

    def environment(self) -> Mapping[str, str]:
        """Nothing but where its libraries are if it was unpacked."""
        return {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(self._program.parent)}

    async def answers(self) -> bool:
        """Whether it has found gateways."""
        return bool(await by_rest() and await by_grpc())


async def by_rest() -> str:
    """Who answers a request on a connection of its own; empty if nobody does."""
    async with httpx.AsyncClient(trust_env=False, timeout=SOON_S) as http:
        try:
            answer = await http.get(f"http://{PROXY}:{REST}/who")
        except httpx.TransportError:
            return ""
        return answer.text if answer.status_code == 200 else ""


async def by_grpc() -> str:
    """Who answers a call on a connection of its own; empty if nobody does."""
    async with grpc.aio.insecure_channel(
        f"{PROXY}:{GRPC}", options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    ) as channel:
        call: Any = channel.unary_unary(METHOD)
        try:
            found: bytes = await call(b"", timeout=SOON_S)
        except grpc.aio.AioRpcError:
            return ""
        return found.decode()


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Gateway]]:
    one, other = Gateway(ONE), Gateway(OTHER)
    async with AsyncExitStack() as stack:
        for gateway in (one, other):
            await stack.enter_async_context(gateway.serving())
        names, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Names([ONE, OTHER]), local_addr=(PROXY, DNS_PORT)
        )
        stack.callback(names.close)
        await stack.enter_async_context(started(Proxy(tmp_path)))
        yield one, other


@pytest.mark.parametrize("ask", [by_rest, by_grpc])
async def test_callers_go_to_gateways_that_reach_an_executor_and_else_to_any_that_do_not_drain(
    gateways: tuple[Gateway, Gateway], ask: Callable[[], Awaitable[str]]
) -> None:
    one, other = gateways

    async def answered_by(*wanted: Gateway) -> None:
        """Wait until all calls are answered, by all of these and nobody else."""
        async with asyncio.timeout(SOON_S):
            while Counter([await ask() for _ in range(CALLS)]).keys() != {each.address for each in wanted}:
                await asyncio.sleep(0.1)

    await answered_by(one, other)
    one.says = NO_EXECUTOR
    await answered_by(other)
    other.says = DRAINING
    await answered_by(one)
    other.says = NO_EXECUTOR
    await answered_by(one, other)
    other.says = READY
    await answered_by(other)
