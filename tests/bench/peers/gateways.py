"""Other gateways as servers in front of the simulator, asked as Lumni is."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import psutil
import yaml

from services.local.ports import free as free_port
from services.local.server import Server
from services.local.service import http_ok
from tests.bench import load
from tests.bench.load import DRIPS, TRICKLES, Target
from tests.bench.peers import installed
from tests.bench.road import Running
from tests.flow.stack import ARRANGEMENTS

KEY = "sk-bench"
MODELS = ("small", DRIPS, TRICKLES)
# The first start compiles what was installed, which takes minutes on a busy machine.
START_S = 600.0
# What a gateway gets of the surroundings: no key of the developer's.
KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")


class Gateway(Server):
    """One of them."""

    def __init__(
        self, name: str, command: Sequence[str], base: str, health: str, log: Path, environ: dict[str, str]
    ) -> None:
        super().__init__(log)
        self.name = name
        self._command = command
        self._healthy = http_ok(base, health)
        self._environ = {name: os.environ[name] for name in KEPT if name in os.environ} | environ

    def command(self) -> Sequence[str]:
        """What starts it."""
        return self._command

    def environment(self) -> Mapping[str, str]:
        """What it needs, and nothing else."""
        return self._environ

    async def answers(self) -> bool:
        """Whether it is ready."""
        return await self._healthy()


def litellm(folder: Path, port: int, provider: str, *, workers: int = 1) -> tuple[Gateway, dict[str, str]]:
    """LiteLLM's proxy with one key and no database; the server, and the headers of its callers.

    Raises:
        Absent: it cannot be installed.
    """
    command = installed.litellm()
    config = folder / "config.yaml"
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": f"{provider}/v1",
                "api_key": "sk-sim",
            },
        }
        for name in MODELS
    ]
    config.write_text(yaml.safe_dump({"model_list": models, "general_settings": {"master_key": KEY}}))
    gateway = Gateway(
        "LiteLLM proxy",
        [
            str(command),
            *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
            *("--num_workers", str(workers)),
            # Else workers that take longer to begin are ended and begun anew, for ever on a busy machine.
            *("--timeout_worker_healthcheck", str(int(START_S))),
        ],
        f"http://127.0.0.1:{port}",
        "/health/liveliness",
        folder / "log",
        # It would look for newer prices on the web.
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
    )
    return gateway, {"authorization": f"Bearer {KEY}"}


def portkey(folder: Path, port: int, provider: str) -> tuple[Gateway, dict[str, str]]:
    """Portkey's gateway, which passes requests on without keys, limits or records of its own.

    Raises:
        Absent: it cannot be installed, or there is no Node.
    """
    node = shutil.which("node")
    if node is None:
        raise installed.Absent("Portkey's gateway needs Node")
    gateway = Gateway(
        "Portkey gateway",
        [node, str(installed.portkey()), "--headless", f"--port={port}"],
        f"http://127.0.0.1:{port}",
        "/",
        folder / "log",
        {"NODE_ENV": "production"},
    )
    return gateway, {
        "authorization": "Bearer sk-sim",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{provider}/v1",
    }


# By the name on the command line.
PEERS: Mapping[str, Callable[[Path, int, str], tuple[Gateway, dict[str, str]]]] = {
    "litellm": litellm,
    "litellm-workers": partial(litellm, workers=ARRANGEMENTS["workers"].workers),
    "portkey": portkey,
}


@asynccontextmanager
async def running(folder: Path, name: str, provider: str) -> AsyncIterator[Running]:
    """One of them, until the block ends.

    Raises:
        Absent: it cannot be installed.
        Failed: it does not start.
    """
    folder.mkdir()
    port = free_port()
    gateway, headers = PEERS[name](folder, port, provider)
    async with AsyncExitStack() as ends:
        ends.push_async_callback(gateway.stop)
        await gateway.start(START_S)
        assert gateway.pid is not None
        session = await ends.enter_async_context(load.open_session(headers))
        yield Running(
            Target(f"http://127.0.0.1:{port}/v1/chat/completions", session, *MODELS),
            {gateway.name: psutil.Process(gateway.pid)},
            (),
        )
