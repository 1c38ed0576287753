"""A short search over the RPCs of classifier, selector and executor, the same every time, and what was found before.

`tests/flow/test_fuzz.py` does the same with the gateway, which needs its stores; `make fuzz` does so for ten minutes.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings

from tests.fuzz import cases, served
from tests.fuzz.rpcs import RPCS, Rpc, check, known, requests

EXAMPLES = 60
ABOUT = known(served.MODELS, served.DEPLOYMENTS)
HERE = ("classifier", "selector", "executor")
CASES = {name: (rpc, request) for name, rpc, request in cases.of_rpcs() if rpc.served_by in HERE}


class Services:
    """The three services, on a loop of their own, as hypothesis calls plain functions."""

    def __init__(self, runner: asyncio.Runner, channels: dict[str, grpc.aio.Channel]) -> None:
        self._runner = runner
        self._channels = channels

    def check(self, rpc: Rpc, request: Message) -> str:
        """Call a method and look at its answer."""
        return self._runner.run(check(self._channels[rpc.served_by], rpc, request))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Running services."""
    folder = tmp_path_factory.mktemp("fuzz")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        channels = runner.run(_started(stack, folder))
        yield Services(runner, channels)
        runner.run(stack.aclose())


async def _started(stack: AsyncExitStack, folder: Path) -> dict[str, grpc.aio.Channel]:
    for name in ("selector", "executor"):
        (folder / name).mkdir()
    addresses = {
        "classifier": await stack.enter_async_context(served.classifier()),
        "selector": await stack.enter_async_context(served.selector(folder / "selector")),
        "executor": await stack.enter_async_context(served.executor_and_provider(folder / "executor")),
    }
    return {
        name: await stack.enter_async_context(served.channel(address)) for name, address in addresses.items()
    }


@pytest.mark.parametrize("name", [name for name, rpc in RPCS.items() if rpc.served_by in HERE])
def test_no_message_is_answered_with_a_mistake_of_ours(services: Services, name: str) -> None:
    rpc = RPCS[name]

    @settings(max_examples=EXAMPLES)
    @given(requests(rpc, ABOUT))
    def search(request: Message) -> None:
        services.check(rpc, request)

    search()


@pytest.mark.parametrize("name", CASES)
def test_what_was_found_once_holds(services: Services, name: str) -> None:
    services.check(*CASES[name])
