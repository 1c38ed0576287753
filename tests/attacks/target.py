"""What is attacked: all services as processes of their own in front of the provider simulator."""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.faults import cluster as clusters
from tests.faults.cluster import Cluster
from tests.flow.stack import ADMIN_KEY
from tests.simulator import Simulator

# The attackers' organization; honest clients have others.
ORGANIZATION = "attackers"
FLEET = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/small, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: &cheap
      {{input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, max_input_tokens: 128000,
       supports_function_calling: true, supports_vision: true, access_groups: [all]}}
  - model_name: slow
    litellm_params: {{model: openai/slow-sim-slow-80-drip-10, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *cheap
  - model_name: claude
    litellm_params: {{model: anthropic/claude, api_base: "{url}", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *cheap
  - model_name: gemini
    litellm_params: {{model: gemini/gemini, api_base: "{url}/v1beta", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *cheap
router_settings: {{num_retries: 0}}
"""
PLANS = """
plans:
  open: {access_groups: [all], max_output_tokens: 64}
default_plan: open
"""
# Longer than in the runs of faults: an attack shall not end by a deadline that is short for the test's sake.
TIMEOUT_S = 30
# Requests that the provider remembers: more than half an hour of attacks makes.
KEPT = 1_000_000


@dataclass(frozen=True)
class Target:
    """A running whole, as an attacker and his judge see it."""

    # http://host:port of the gateway's REST server.
    rest: str
    # host:port of the gateway's gRPC server.
    grpc: str
    # A plain key of the organization `attackers`, with a budget that is never reached.
    key: str
    # The key of the admin routes: for making further keys and reading metrics.
    admin_key: str
    # The provider; what it says it saw, it saw.
    simulator: Simulator
    # host:port of the gRPC servers behind the gateway: classifier, selector, executor-0.
    internal: Mapping[str, str]
    # Process ids by name: gateway-0, classifier, selector, executor-0, ledger-0, postgres, valkey.
    pids: Mapping[str, int]
    # Address of the Redis that the services share, with the operator's password.
    redis: str
    # Address of PostgreSQL, with the operator's password.
    database: str

    @property
    def headers(self) -> dict[str, str]:
        """The attacker's Authorization header."""
        return {"authorization": f"Bearer {self.key}"}

    async def make_key(self, organization: str = ORGANIZATION, **fields: Any) -> str:
        """A new plain key of an organization, which is made if it is not there."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        async with httpx.AsyncClient(
            base_url=self.rest, headers=headers, trust_env=False, timeout=60
        ) as http:
            (await http.put(f"/admin/organizations/{organization}", json={})).raise_for_status()
            answer = await http.post("/admin/keys", json={"organization_id": organization, **fields})
            return str(answer.raise_for_status().json()["key"])


class Attack(Protocol):
    """What a script does."""

    def __call__(self, target: Target, *, seconds: float) -> Awaitable[list[str]]:
        """Attack for about so many seconds; what held, one sentence each."""


@asynccontextmanager
async def running(folder: Path, *, timeout_s: float = TIMEOUT_S) -> AsyncIterator[tuple[Target, Cluster]]:
    """One of each service on free ports, and a key for the attacker, until the block ends."""
    async with clusters.running(
        folder,
        gateways=1,
        executors=1,
        ledgers=1,
        fleet=FLEET,
        plans=PLANS,
        timeout_s=timeout_s,
        keep=KEPT,
    ) as cluster:
        yield await of(cluster), cluster


async def of(cluster: Cluster) -> Target:
    """The cluster as a target."""
    pids = {name: service.pid for name, service in cluster.services.items()}
    pids |= {"postgres": cluster.postgres.pid, "valkey": cluster.one_valkey.pid}
    target = Target(
        rest=cluster.rests[0],
        grpc=cluster.listen["gateway-0"],
        key="",
        admin_key=ADMIN_KEY,
        simulator=cluster.provider,
        internal={name: cluster.listen[name] for name in ("classifier-0", "selector-0", "executor-0")},
        pids={name: pid for name, pid in pids.items() if pid},
        redis=cluster.valkey.url,
        database=cluster.postgres.url,
    )
    key = await target.make_key(budget_usd=1000, budget_period="total")
    return Target(**{**vars(target), "key": key})


def rounds(ends: float) -> Iterator[None]:
    """One round at least, and more until the monotonic clock says so."""
    yield
    while time.monotonic() < ends:
        yield


def alone(name: str, attack: Attack) -> None:
    """Run one script against a whole of its own and print what held: for its `__main__`."""
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--seconds", type=float, default=20)
    seconds: float = parser.parse_args().seconds

    async def run() -> None:
        folder = Path(tempfile.mkdtemp(prefix="lumni-attack-"))
        folder.chmod(0o711)
        try:
            async with running(folder) as (target, _):
                for line in await attack(target, seconds=seconds):
                    print(f"held: {line}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    asyncio.run(run())
