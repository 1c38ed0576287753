"""Several of every service, as processes of their own, with stores that may be stopped, frozen and emptied."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from services.chassis import redis_acl, rpc
from services.gateway.migrate import migrate
from services.local.ports import free as free_port
from services.local.postgres import Postgres
from services.local.server import started
from services.local.service import Service, grpc_health
from services.local.valkey import Valkey
from tests import simulator
from tests.deadlines import with_deadline
from tests.flow.stack import ADMIN_KEY
from tests.forked_service import ForkedService, kept
from tests.simulator import Simulator
from tests.stores import valkey_cluster
from tests.stores.valkey_cluster import PRIMARIES, ValkeyCluster

# Short, so that what a dead process left behind is closed while the test looks on.
TIMEOUT_S = 6
GRACE_S = 3
# Longer than in production: on a busy machine a gateway must not take its own slowness for an outage of Redis.
REDIS_TIMEOUT_S = 2
# A start or a recovery that takes longer than this has failed; a busy machine needs a tenth of it.
STALLED_S = 180
# By which the services know each other.
SERVICE_TOKEN = "faults-service-token"
# How many of what only decides.
ONE_EACH = {"classifier": 1, "selector": 1}
# A line of a gateway's metrics.
COUNTS_IN_REDIS = "lumni_gateway_limiter_redis 1.0"

FLEET = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/small, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: &cheap
      {{input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, max_input_tokens: 8192,
       access_groups: [all]}}
  - model_name: slow
    litellm_params: {{model: openai/slow-sim-slow-80-drip-10, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *cheap
  - model_name: large
    litellm_params: {{model: openai/large, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info:
      {{input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001, max_input_tokens: 128000,
       access_groups: [all]}}
  - model_name: breaks
    litellm_params: {{model: openai/breaks-sim-500, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *cheap
  - model_name: cuts
    litellm_params: {{model: openai/cuts-sim-cut-3, api_base: "{url}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *cheap
router_settings:
  num_retries: 0
  allowed_fails: 1000000
  fallbacks: [{{breaks: [small]}}]
"""
PLANS = """
plans:
  open: {access_groups: [all], max_output_tokens: 64, parallel: 1000}
default_plan: open
"""


@dataclass
class Cluster:
    """What runs, by name; several of one kind are numbered."""

    postgres: Postgres
    valkey: Valkey | ValkeyCluster
    provider: Simulator
    folder: Path
    rests: list[str] = field(default_factory=list)
    # The gRPC address of each service.
    listen: dict[str, str] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)

    def of(self, kind: str) -> list[Service]:
        """All processes of a kind."""
        return [one for name, one in self.services.items() if name.startswith(kind)]

    async def crash(self, service: Service) -> None:
        """Kill a process and start it anew."""
        service.kill()
        service.spawn()
        await service.ready(STALLED_S)

    @property
    def partitions(self) -> int:
        """Of each stream."""
        return PRIMARIES if isinstance(self.valkey, ValkeyCluster) else 1

    @property
    def one_valkey(self) -> Valkey:
        """The only Valkey."""
        assert isinstance(self.valkey, Valkey)
        return self.valkey

    async def recovered(self) -> None:
        """Wait until every gateway reaches an executor, and counts in Redis again."""
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(trust_env=False, headers=admin) as http, asyncio.timeout(STALLED_S):
            for rest in self.rests:
                while (await http.get(f"{rest}/health/ready")).status_code != 200:
                    await asyncio.sleep(0.05)
                while COUNTS_IN_REDIS not in (await http.get(f"{rest}/metrics")).text.splitlines():
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    gateways: int,
    executors: int,
    ledgers: int,
    deciders: Mapping[str, int] = ONE_EACH,
    fleet: str = FLEET,
    plans: str = PLANS,
    timeout_s: float = TIMEOUT_S,
    keep: int = 100_000,
    sharded: bool = False,
) -> AsyncIterator[Cluster]:
    """Run it all on free ports until the block ends; the provider remembers `keep` requests for the audit.

    Without executors each gateway has all services in its own process; else `deciders` says how many classifiers and
    selectors there are.
    `sharded` is with a cluster of Valkey.
    """
    async with AsyncExitStack() as ends:
        postgres = await ends.enter_async_context(started(Postgres(folder / "postgres")))
        # Whatever Valkey promised is on its disk when it is killed.
        valkey: Valkey | ValkeyCluster = await ends.enter_async_context(
            valkey_cluster.running(folder / "valkey", appendonly="yes")
            if sharded
            else started(Valkey(folder / "valkey", settings={"appendonly": "yes", "appendfsync": "always"}))
        )
        provider = await ends.enter_async_context(simulator.spawned(keep=keep))
        await migrate(postgres.url)
        cluster = Cluster(postgres, valkey, provider, folder)
        config = folder / "config"
        config.mkdir()
        (config / "litellm_config.yaml").write_text(fleet.format(url=provider.url))
        (config / "lumni.yaml").write_text(plans)
        _describe(cluster, folder, config, gateways, executors, ledgers, deciders, timeout_s)
        for service in cluster.services.values():
            service.spawn()
            ends.push_async_callback(service.stop, 2.0)
        for service in cluster.services.values():
            await service.ready(STALLED_S)
        await cluster.recovered()
        yield cluster


def _describe(
    cluster: Cluster,
    folder: Path,
    config: Path,
    gateways: int,
    executors: int,
    ledgers: int,
    deciders: Mapping[str, int],
    timeout_s: float,
) -> None:
    shared = {
        **kept(),
        "LUMNI_CONFIG_DIR": str(config),
        "LUMNI_LOG_LEVEL": "WARNING",
        "LUMNI_REQUEST_TIMEOUT_S": str(timeout_s),
        "LUMNI_LEDGER_GRACE_S": str(GRACE_S),
        "LUMNI_LEDGER_TAKEOVER_S": "1",
        "LUMNI_STREAM_PARTITIONS": str(cluster.partitions),
    }

    def add(name: str, module: str, listen: str, environ: dict[str, str]) -> None:
        given = {**shared, "LUMNI_STATE_DIR": str(folder / name), **environ}
        user = name.partition("-")[0]
        if user in redis_acl.USERS:
            given["REDIS_URL"] = with_deadline(cluster.valkey.url_of(user), REDIS_TIMEOUT_S)
        if listen:
            cluster.listen[name] = given["LUMNI_LISTEN"] = listen
            given["LUMNI_SERVICE_TOKEN"] = SERVICE_TOKEN
        ready = grpc_health(listen, rpc.Settings()) if listen else None
        cluster.services[name] = ForkedService(
            name, module, environ=given, log=folder / f"{name}.log", is_ready=ready
        )

    together = not executors
    provider_key = {"SIMULATOR_KEY": "sk-sim"}
    if together:
        peers = {
            f"LUMNI_{name.upper()}_REDIS_URL": with_deadline(cluster.valkey.url_of(name), REDIS_TIMEOUT_S)
            for name in ("selector", "executor")
        } | provider_key
    else:
        peers = {}
        for kind, count in {**deciders, "executor": executors}.items():
            listens = [f"127.0.0.1:{free_port()}" for _ in range(count)]
            for i, listen in enumerate(listens):
                add(f"{kind}-{i}", f"services.{kind}", listen, provider_key if kind == "executor" else {})
            peers[f"LUMNI_{kind.upper()}"] = f"ipv4:{','.join(listens)}"
    for i in range(ledgers):
        add(f"ledger-{i}", "services.gateway.ledger", "", {"DATABASE_URL": cluster.postgres.url})
    for i in range(gateways):
        rest = f"127.0.0.1:{free_port()}"
        cluster.rests.append(f"http://{rest}")
        environ = {
            **peers,
            "DATABASE_URL": cluster.postgres.url,
            "LUMNI_REST_LISTEN": rest,
            "LUMNI_ADMIN_KEY": ADMIN_KEY,
        }
        module = "services.together" if together else "services.gateway"
        add(f"gateway-{i}", module, f"127.0.0.1:{free_port()}", environ)
