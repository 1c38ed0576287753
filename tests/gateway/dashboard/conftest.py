"""The page against real stores, and browsers of it."""

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors, redis
from services.chassis.config import Secrets
from services.chassis.deployments import Fleet
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.dashboard import routes as dashboard
from services.gateway.dashboard.models import FleetReports
from services.gateway.dashboard.playground import Playground
from services.gateway.dashboard.session import Role, Sessions
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.store import ExperimentStore
from services.gateway.health.provider_reports import ProviderReports
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.digests import Digests
from services.gateway.keys.store import KeyStore
from services.gateway.prompts.reference import Reference
from services.gateway.prompts.store import PromptStore
from services.gateway.prompts.system_prompts import Configured, Stored
from services.gateway.replays.replay import Replays
from services.gateway.reports.readers import Readers
from services.gateway.reports.requests import RequestReports
from services.gateway.reports.usage import UsageReports
from services.gateway.rest import application
from tests.gateway.conftest import CONFIG

ADMIN_KEY = "sk-admin-canary"
VIEWER_KEY = "sk-viewer-canary"
EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def health(replica: str, remaining: int) -> executor_pb2.DeploymentHealth:
    """One executor's view of the deployment, whose breaker is open."""
    now_ms = int(time.time() * 1000)
    left = executor_pb2.Headroom(limit="rpd", total=1500, remaining=remaining, resets_unix_ms=now_ms + 60_000)
    return executor_pb2.DeploymentHealth(
        deployment=EVIL,
        replica=replica,
        callable=True,
        breaker=executor_pb2.BREAKER_STATE_OPEN,
        last_error="rate_limit",
        updated_unix_ms=now_ms,
        headroom=[left],
    )


class Peers:
    """The executor and the selector, as the models page asks them; down while `fault` is set."""

    def __init__(self) -> None:
        self.fault: errors.Fault | None = None
        self._deployment = executor_pb2.Deployment(
            id=EVIL, model=EVIL, provider="openai", health=health("a", 300)
        )

    async def deployments(self) -> list[executor_pb2.Deployment]:
        if self.fault:
            raise self.fault
        return [self._deployment]

    async def models(self, _: selector_pb2.ListModelsRequest) -> list[selector_pb2.Model]:
        if self.fault:
            raise self.fault
        return [selector_pb2.Model(name=EVIL, callable=True, providers=[EVIL], capabilities=["tools"])]

    async def replay(self, request: selector_pb2.ReplayRequest, timeout_s: float) -> list[Any]:
        if self.fault:
            raise self.fault
        # No request of the ledger was recorded.
        assert not request.decisions
        return []


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def oidc() -> dashboard.Oidc | None:
    """Who else signs people in: nobody, but for tests of that."""
    return None


@pytest.fixture
def app(
    pool: postgres.Pool, client: redis.Redis, configured: Plans, peers: Peers, oidc: dashboard.Oidc | None
) -> Any:
    """The application with the pages alone."""
    database = KeyDatabase(pool, client)
    readers = Readers(pool)
    executor: Any = peers

    def nobody() -> Any:
        raise AssertionError("no request is made here")

    pipeline: Any = None
    sources = dashboard.Sources(
        used=UsageReports(readers),
        requests=RequestReports(readers),
        texts=None,
        fleet=FleetReports(ProviderReports(client, executor, Fleet(())), executor),
        keys=KeyStore(database, Live(configured), Digests(Secrets("s"), Secrets(ADMIN_KEY))),
        audit=AuditTrail(database),
        plans=Live(configured),
        playground=Playground(pipeline, nobody),
        prompts=PromptStore(database),
        rules=Live(Configured(stored={"base": Stored(Reference("house-style"))})),
        experiments=ExperimentStore(database),
        results=ExperimentResults(readers),
        replays=Replays(readers, executor, CONFIG.parent),
    )
    keys = {Role.ADMIN: Secrets(ADMIN_KEY), Role.VIEWER: Secrets(VIEWER_KEY)}
    secret = oidc.settings.client_secret if oidc else Secrets("")
    sessions = Sessions(keys, Secrets(""), 3600, provider_secret=secret)
    return application.with_middleware(application.create([dashboard.router(sessions, sources, oidc=oidc)]))


@pytest.fixture
def browser(app: Any) -> Callable[..., Any]:
    """Opens browsers, each with cookies of its own, signed in by a key if one is given."""

    @asynccontextmanager
    async def browse(key: str = "", scheme: str = "http") -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://gateway") as one:
            if key:
                assert 303 == (await sign_in(one, key)).status_code
            yield one

    return browse


async def sign_in(one: httpx.AsyncClient, key: str, **more: str) -> httpx.Response:
    page = await one.get("/dashboard/sign-in")
    return await one.post("/dashboard/sign-in", data={"csrf": token(page), "key": key, **more})


def token(page: httpx.Response) -> str:
    found = CSRF.search(page.text)
    assert found is not None, page.text
    return found[1]
