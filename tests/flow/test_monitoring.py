"""What operators see of the running whole."""

import asyncio
import re
from random import Random
from typing import Any

import grpc
import httpx
import orjson
import pytest

from scripts import metrics_table
from tests import prometheus_rules
from tests.flow.stack import ALLOWED_FAILS, Stack
from tests.gateway.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
# Made-up paths, methods, models, keys, tenants and users together. More of each kind are in
# tests/gateway/test_bounded_labels.py, at what sets the labels.
NAMES = 1_000
# Series that a busy machine may add meanwhile: a deadline that passes is a code of its own.
FEW = 10


async def by_deployment(admin: httpx.AsyncClient, path: str) -> dict[str, dict[str, Any]]:
    """The entries of a list by their models."""
    response = await admin.get(path)
    assert response.status_code == 200, response.text
    return {one["model"]: one for one in response.json()["data"]}


@pytest.mark.arrangements
async def test_providers_and_breakers_are_shown_as_calls_found_them(
    http: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    async def ask(model: str) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 200

    await ask("small")
    # Its fallback answers; after more failures than are allowed the breaker is open.
    for _ in range(ALLOWED_FAILS + 1):
        await ask("opens")

    async def opened() -> bool:
        found = await by_deployment(admin, "/health/circuit-breakers")
        return found["opens"]["breaker"] == "open" and (await known()) is not None

    async def known() -> float | None:
        latency: float | None = (await by_deployment(admin, "/health/providers"))["small"]["latency_ms"]
        return latency

    await eventually(opened)
    providers = await by_deployment(admin, "/health/providers")
    assert ("ok", "closed", 0) == tuple(
        providers["small"][name] for name in ("state", "breaker", "error_rate")
    )
    assert providers["opens"]["state"] == "open"
    assert providers["opens"]["last_error"] == "server_error"
    assert providers["opens"]["rests_until"] is not None
    assert providers["keyless"]["state"] == "no_key"
    head = (await admin.get("/health/providers")).json()
    assert head["source"] == "redis"
    assert head["counts"]["open"] == 1
    assert sum(head["counts"].values()) == len(head["data"])


async def test_only_admins_see_how_providers_fare(http: httpx.AsyncClient) -> None:
    for path in ("/health/providers", "/health/circuit-breakers"):
        assert (await http.get(path)).status_code == 403
        assert (await http.get(path, headers={"authorization": ""})).status_code == 401


async def shown(stack: Stack) -> dict[str, str]:
    """The metrics of every process, by service."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return {name: (await client.get(address)).text for name, address in stack.metrics.items()}


def names(text: str) -> set[str]:
    """The names of metrics, as a query may spell them."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        found |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return found


async def test_rules_dashboard_and_documents_name_metrics_that_services_show(stack: Stack) -> None:
    by_service = {name: names(text) for name, text in (await shown(stack)).items()}
    running = set().union(*by_service.values())
    queries = [rule["expr"] for kind in ("alert", "record") for rule in prometheus_rules.rules(kind).values()]
    queries += prometheus_rules.expressions()
    # What rules record has colons in its name.
    queried = {name for query in queries for name in re.findall(r"\b(?:lumni|process)_\w+\b(?!:)", query)}

    assert len(queried) > 30
    assert queried <= running
    # The table in docs/monitoring.md is made of these.
    for metric in metrics_table.metrics():
        shows = (
            by_service if metric.service == "every service" else {metric.service: by_service[metric.service]}
        )
        spelled = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
        # The ledger serves no calls.
        missing = {one for one, found in shows.items() if spelled not in found} - (
            {"ledger"} if metric.name.startswith("lumni_rpc_") else set()
        )
        assert not missing, metric.name


async def test_no_metric_grows_with_what_callers_make_up(stack: Stack, admin: httpx.AsyncClient) -> None:
    # A key of its own: one with so many wrong requests is refused for a minute.
    made = await admin.post("/admin/keys", json={"user_id": "stranger", "plan": "open"})
    shows = {"authorization": f"Bearer {made.json()['key']}"}

    def series(texts: dict[str, str]) -> set[str]:
        """The label sets; of histograms one, for the others follow from it."""
        return {
            line.rpartition(" ")[0]
            for text in texts.values()
            for line in text.splitlines()
            if line.startswith("lumni_") and "_bucket{" not in line and "_created" not in line
        }

    random = Random(1)
    made_up = 0

    def word() -> str:
        nonlocal made_up
        made_up += 1
        return f"made-up-{random.getrandbits(64):x}"

    def noted() -> dict[str, str]:
        return {"x-portkey-metadata": orjson.dumps({"tenant": word(), "_user": word()}).decode()}

    def chat() -> dict[str, Any]:
        return {"model": word(), "user": word(), "messages": [{"role": "user", "content": "hello"}]}

    async def strangers(client: httpx.AsyncClient, until: int) -> None:
        """Every kind of request in turn, each with names of its own."""
        while made_up < until:
            key = {"authorization": f"Bearer sk-lumni-{word()}"}
            await client.get(f"/{word()}/{word()}", headers=shows | noted())
            await client.request(word().upper(), f"/v1/models/{word()}", headers=shows | noted())
            await client.get(f"/usage/{word()}", headers=shows | noted(), params={"group_by": word()})
            await client.post("/v1/chat/completions", json=chat(), headers=key | noted())
            azure = f"/openai/deployments/{word()}/chat/completions"
            await client.post(azure, json=chat(), headers=shows | noted())

    async def callers(until: int) -> None:
        """The same by gRPC, of methods that there are not."""
        async with grpc.aio.insecure_channel(stack.grpc) as channel:
            for _ in range(until):
                method: Any = channel.unary_unary(f"/lumni.gateway.v1.GatewayService/{word()}")
                with pytest.raises(grpc.aio.AioRpcError):
                    await method(b"", metadata=tuple(stack.headers.items()), timeout=60)

    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=stack.rest, timeout=60, trust_env=False, limits=limits) as client:
        # What there may be has been there once; then none of it is new.
        await asyncio.gather(*(strangers(client, 500) for _ in range(16)))
        await callers(10)
        before = series(await shown(stack))
        await asyncio.gather(*(strangers(client, made_up + NAMES) for _ in range(16)))
        await callers(100)
        after = series(await shown(stack))

    assert before
    assert not [line for line in after if "made-up" in line]
    assert len(after) <= len(before) + FEW
