"""Addresses of pictures that cannot be fetched: python -m tests.attacks.bad_addresses.

Each is sent to a provider that cannot fetch pictures for itself. It is the caller's mistake: refused by the field's
name, never billed, never sent again, and never held against the deployment.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import errors
from tests.executor.service import Caller, deployments, executor
from tests.simulator import Simulator, running

FIELD = "messages[0].content[0].image_url.url"
MODELS = [("anthropic", "anthropic/claude-sim-tokens-4"), ("gemini", "gemini/gemini-sim-tokens-4")]
# What yarl, aiohttp, the resolver and LiteLLM's readers of data: addresses stumble over.
UNREADABLE = (
    "http://[",
    "http://[::1",
    "HTTP://[",
    "http://192.0.2.1:99999999/x.png",
    "http://192.0.2.1:port/x.png",
    "http://a:b:c/x.png",
    "http://",
    "http:///x.png",
    "http:x.png",
    "http:\\\\192.0.2.1\\x.png",
    " http://192.0.2.1/x.png",
    "http://\x00/x.png",
    f"http://{'a' * 64}/x.png",
    f"http://192.0.2.1/{'a' * 9000}",
    "file:///etc/passwd",
    "gs://bucket/x.png",
    "data:",
    "data:image/png",
    "data:image/png,x",
    "data:;base64,AAAA",
    "DATA:image/png;base32,AAAA",
)
# Reachable from a machine in a cloud or a private network, and nobody else's business.
INSIDE = (
    "http://127.0.0.1/x.png",
    "http://168.63.129.16/metadata",
    "http://100.100.100.200/latest/meta-data",
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:0:7f00:1]/x.png",
    "http://[::ffff:7f00:1]/x.png",
    "http://[fec0::1]/x.png",
    "http://[64:ff9b::7f00:1]/x.png",
    "http://[2002:7f00:1::]/x.png",
    "http://[2001:0:7f00:1::1]/x.png",
)
# More than allowed_fails below, so that a breaker that counted them would be open.
SMALL = (*UNREADABLE[:4], *INSIDE[1:4])


async def attack(simulator: Simulator, folder: Path, engine: str, addresses: Sequence[str]) -> int:
    """Send every address to every provider, whole and streamed; returns how many were refused as they should be."""
    config = deployments(simulator.url, MODELS)
    config["router_settings"] |= {"num_retries": 2, "allowed_fails": 1, "cooldown_time": 60}
    refused = 0
    async with executor(folder, config, engine=engine) as caller:
        for provider, _ in MODELS:
            for address in addresses:
                for stream in (False, True):
                    await _refused(caller, provider, address, stream=stream)
                    refused += 1
        called = (await simulator.counts())["requests"]
        assert called == 0, f"{called} requests reached a provider"
        for provider, _ in MODELS:
            answered = await caller.ask(provider)
            assert answered.fault is None, f"{provider} is closed to others: {answered.fault}"
    return refused


async def _refused(caller: Caller, provider: str, address: str, *, stream: bool) -> None:
    part = {"type": "image_url", "image_url": {"url": address}}
    outcome = await caller.ask(provider, stream=stream, messages=[{"role": "user", "content": [part]}])
    case = f"{caller.engine} {provider} {address[:60]!r}: {outcome.fault!r}"
    assert isinstance(outcome.fault, errors.Invalid), case
    assert outcome.fault.param == FIELD, case
    assert outcome.report.cost_nano_usd == 0, case
    assert [pb.OUTCOME_FAILED] == [attempt.outcome for attempt in outcome.report.attempts], case


async def main() -> None:
    """The whole attack, with both engines."""
    for engine in ("fast", "general"):
        with tempfile.TemporaryDirectory() as folder:
            async with running() as simulator:
                refused = await attack(simulator, Path(folder), engine, (*UNREADABLE, *INSIDE))
        print(f"{engine}: {refused} calls refused by name, none sent, none billed, no breaker open")


if __name__ == "__main__":
    asyncio.run(main())
