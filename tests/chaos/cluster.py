"""A whole Lumni on hosts: two or three of every service, the proxy in front, stores and provider behind."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from services.chassis import redis_acl
from services.gateway.migrate import migrate
from services.local.server import started
from tests.bench.processes import resident_mib
from tests.chaos.hosts import Network
from tests.chaos.servers import (
    GRPC,
    REST,
    HostedPostgres,
    HostedService,
    HostedSimulator,
    HostedValkey,
    Proxy,
)
from tests.deadlines import with_deadline
from tests.faults.cluster import SERVICE_TOKEN, Cluster
from tests.flow.stack import ADMIN_KEY
from tests.forked_service import kept
from tests.simulator import Simulator

# How many of each there are, in the order in which they are restarted.
REPLICAS: Mapping[str, int] = {"classifier": 2, "selector": 2, "executor": 3, "gateway": 2, "ledger": 1}
NAMES = tuple(f"{kind}-{i}" for kind, count in REPLICAS.items() for i in range(count))
# The first is this process.
HOSTS = ("caller", "proxy", *NAMES, "postgres", "valkey", "provider")
# Longer than the longest stream; after it and the grace the ledger closes what no end was heard of.
TIMEOUT_S, GRACE_S = 30, 3
# A start that takes longer has failed; a machine that does much else needs minutes for it.
START_S = 600
# As in compose.yaml: until the proxy has noticed that a gateway is about to stop.
DRAIN_DELAY_S = 5
# That an orchestrator waits until it kills what it has asked to stop.
STOP_S = TIMEOUT_S + DRAIN_DELAY_S + 5
# Of a stream: as long as a restart takes, and a deadline away from the timeout.
CHUNKS, DRIP_MS = 80, 100
# Tokens of all other answers.
TOKENS = 24
FLEET = f"""
model_list:
  - model_name: quick
    litellm_params:
      &place {{{{model: openai/quick-sim-tokens-{TOKENS}-slow-100, api_base: "{{url}}/v1", api_key: os.environ/SIMULATOR_KEY}}}}
    model_info: &cheap
      {{{{input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, max_input_tokens: 8192,
       access_groups: [all]}}}}
  - model_name: drips
    litellm_params: {{{{<<: *place, model: openai/drips-sim-tokens-{CHUNKS}-drip-{DRIP_MS}}}}}
    model_info: *cheap
router_settings:
  num_retries: 0
  allowed_fails: 1000000
"""
PLANS = """
plans:
  open: {access_groups: [all], max_output_tokens: 256, parallel: 10000}
default_plan: open
"""


@dataclass
class HostedCluster(Cluster):
    """A cluster whose parts are on hosts."""

    network: Network = field(kw_only=True)
    proxy: Proxy = field(kw_only=True)
    hosted: dict[str, HostedService] = field(kw_only=True, default_factory=dict)

    async def recovered(self) -> None:
        """Wait until every gateway reaches an executor; whether it counts in Redis changes on a busy machine."""
        async with httpx.AsyncClient(trust_env=False, timeout=START_S) as http, asyncio.timeout(START_S):
            for rest in self.rests:
                while (await http.get(f"{rest}/health/ready")).status_code != 200:
                    await asyncio.sleep(0.05)

    async def restart(self, service: HostedService) -> None:
        """Ask a process to stop, as an orchestrator does, let it drain, and start it anew."""
        await service.stop(STOP_S)
        service.spawn()
        await service.ready(START_S)
        await self.recovered()

    def resident(self) -> dict[str, int]:
        """MiB of memory that each process has resident."""
        pids = {name: service.pid for name, service in self.hosted.items()}
        return {name: round(resident_mib(psutil.Process(pid))) for name, pid in pids.items() if pid}


@asynccontextmanager
async def running(
    folder: Path, network: Network, *, keep: int, redis_s: float = 0.0
) -> AsyncIterator[HostedCluster]:
    """Run it all until the block ends; the provider remembers `keep` requests for the audit.

    The services wait `redis_s` for Redis, or as long as in production.
    """
    async with AsyncExitStack() as ends:
        enter = ends.enter_async_context
        postgres = await enter(started(HostedPostgres(network["postgres"], folder / "postgres")))
        valkey = await enter(started(HostedValkey(network["valkey"], folder / "valkey")))
        provider = await enter(started(HostedSimulator(network["provider"], folder, keep)))
        http = await enter(httpx.AsyncClient(base_url=provider.url, trust_env=False, timeout=60))
        await migrate(postgres.url)
        config = folder / "config"
        config.mkdir()
        (config / "litellm_config.yaml").write_text(FLEET.format(url=provider.url))
        (config / "lumni.yaml").write_text(PLANS)
        gateways = [network[name] for name in NAMES if name.startswith("gateway")]
        proxy = Proxy(network["proxy"], gateways, folder)
        cluster = HostedCluster(
            postgres, valkey, Simulator(provider.url, http), folder, network=network, proxy=proxy
        )
        for name in NAMES:
            module, port, environ = _described(cluster, folder, name, redis_s)
            service = HostedService(network[name], module, port=port, environ=environ, folder=folder)
            cluster.hosted[name] = cluster.services[name] = service
            service.spawn()
            ends.push_async_callback(service.stop, 2.0)
        for service in cluster.hosted.values():
            await service.ready(START_S)
        cluster.rests = [f"http://{host.address}:{REST}" for host in gateways]
        await cluster.recovered()
        await enter(started(proxy))
        yield cluster


def _described(
    cluster: HostedCluster, folder: Path, name: str, redis_s: float
) -> tuple[str, int, Mapping[str, str]]:
    """The module of a process, the port of its gRPC server, and what it reads from its environment."""
    kind, address = name.partition("-")[0], cluster.network[name].address
    environ = {
        **kept(),
        "LUMNI_CONFIG_DIR": str(folder / "config"),
        "LUMNI_STATE_DIR": str(folder / name),
        "LUMNI_LOG_LEVEL": "WARNING",
        "LUMNI_REQUEST_TIMEOUT_S": str(TIMEOUT_S),
        "LUMNI_LEDGER_GRACE_S": str(GRACE_S),
        "LUMNI_LEDGER_TAKEOVER_S": "1",
        "LUMNI_SERVICE_TOKEN": SERVICE_TOKEN,
    }
    if kind in redis_acl.USERS:
        url = cluster.valkey.url_of(kind)
        environ["REDIS_URL"] = with_deadline(url, redis_s) if redis_s else url
    if kind in ("gateway", "ledger"):
        environ["DATABASE_URL"] = cluster.postgres.url
    if kind == "ledger":
        return "services.gateway.ledger", 0, environ
    environ["LUMNI_LISTEN"] = f"{address}:{GRPC}"
    if kind == "executor":
        environ["SIMULATOR_KEY"] = "sk-sim"
    if kind == "gateway":
        environ |= {
            f"LUMNI_{peer.upper()}": _target(cluster, peer) for peer in ("classifier", "selector", "executor")
        }
        environ |= {
            "LUMNI_REST_LISTEN": f"{address}:{REST}",
            "LUMNI_ADMIN_KEY": ADMIN_KEY,
            "LUMNI_DRAIN_DELAY_S": str(DRAIN_DELAY_S),
            "LUMNI_MAX_CONNECTIONS_PER_ADDRESS": "0",
        }
    return f"services.{kind}", GRPC, environ


def _target(cluster: HostedCluster, kind: str) -> str:
    addresses = (f"{cluster.network[f'{kind}-{i}'].address}:{GRPC}" for i in range(REPLICAS[kind]))
    return f"ipv4:{','.join(addresses)}"
