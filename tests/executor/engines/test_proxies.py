"""Calls by way of an outbound proxy, through both engines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.executor.engines.proxies import Proxies
from tests.executor.fleet import deployment
from tests.executor.service import deployments, executor
from tests.simulator import Simulator


@dataclass
class Proxy:
    """A forward proxy for plain HTTP that notes its requests."""

    url: str = ""
    requests: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on to where its first request says."""
        head = await reader.readuntil(b"\r\n")
        method, target, version = head.decode().split()
        self.requests.append(f"{method} {target}")
        parts = urlsplit(target)
        upstream, sink = await asyncio.open_connection(parts.hostname, parts.port)
        sink.write(f"{method} {parts.path} {version}\r\n".encode())
        await asyncio.gather(_pour(reader, sink), _pour(upstream, writer))


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while part := await source.read(65536):
            sink.write(part)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def proxying() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    proxy.url = f"http://{host}:{port}"
    yield proxy
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("engine", ["fast", "general"])
async def test_calls_of_a_deployment_take_its_proxy_and_those_of_others_do_not(
    engine: str, stream: bool, simulator: Simulator, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("through", "openai/m"), ("direct", "openai/n")])
    async with proxying() as proxy:
        config["model_list"][0]["model_info"]["proxies"] = [proxy.url]
        async with executor(tmp_path, config, engine=engine) as caller:
            outcomes = [await caller.ask(ident, stream=stream) for ident in ("through", "direct")]

    assert [outcome.fault for outcome in outcomes] == [None, None]
    assert all(outcome.text for outcome in outcomes)
    assert proxy.requests == [f"POST {simulator.url}/v1/chat/completions"]


@pytest.mark.parametrize("engine", ["fast", "general"])
async def test_a_proxy_that_is_gone_is_a_failed_connection_and_is_never_passed_by(
    engine: str, simulator: Simulator, tmp_path: Path
) -> None:
    config = deployments(simulator.url, [("through", "openai/m"), ("direct", "openai/n")])
    config["model_list"][0]["model_info"]["proxies"] = ["http://127.0.0.1:1"]
    async with executor(tmp_path, config, engine=engine) as caller:
        outcome = await caller.ask("through", "direct")

    assert [one.error_class for one in outcome.report.attempts] == ["connection", ""]
    assert "m" not in (await simulator.counts())["models"]


def test_proxies_rotate_by_the_clock() -> None:
    now = 0.0
    proxies = Proxies(lambda: now)
    one = deployment("http://x", proxies=("http://a", "http://b"), proxy_interval_s=10.0)
    seen = []
    for now in (0.0, 9.9, 10.0, 19.9, 20.0):  # noqa: B007  (the clock reads it)
        seen.append(proxies.of(one))  # noqa: PERF401

    assert seen == ["http://a", "http://a", "http://b", "http://b", "http://a"]
    assert proxies.of(deployment("http://x")) == ""
