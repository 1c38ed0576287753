"""Run the gateway: python -m services.gateway."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
from lumni.gateway.v1 import gateway_pb2_grpc, keys_pb2_grpc

from services.chassis import litellm_config, litellm_environment, redis, rpc, workers
from services.chassis.byte_budget import ByteBudget
from services.chassis.config import Secret, part, reader, variable
from services.chassis.telemetry import Settings as Telemetry
from services.gateway import certificates, postgres
from services.gateway.cache import store as cached
from services.gateway.cache.answer_key import AnswerKeys, ConfigurationVersion
from services.gateway.cache.response_cache import ResponseCache
from services.gateway.cache.settings import Settings as CacheSettings
from services.gateway.cipher import SHORTEST_SECRET, Cipher
from services.gateway.config import plans, switches
from services.gateway.conversations import store as conversations
from services.gateway.conversations.store import ResponseStore
from services.gateway.dashboard import routes as dashboard
from services.gateway.dashboard.models import FleetReports
from services.gateway.dashboard.playground import Playground
from services.gateway.dashboard.session import Role, Sessions
from services.gateway.health.provider_reports import ProviderReports
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.changes import ChangeFeed
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.digests import Digests
from services.gateway.keys.erasure import PersonalData
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.store import KeyStore
from services.gateway.limits import admission
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.peers import clients
from services.gateway.peers.decisions import DecisionPublisher
from services.gateway.peers.fallback_selection import FallbackSelection
from services.gateway.pipeline.decision import Decider
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.recording import settings as recording
from services.gateway.recording.recorder import RecordingPipeline
from services.gateway.reports.feedback import FeedbackStore
from services.gateway.reports.readers import Readers
from services.gateway.reports.requests import RequestReports
from services.gateway.reports.usage import UsageReports
from services.gateway.rest import (
    admin,
    application,
    feedback,
    inference,
    messages,
    model_calls,
    not_served,
    operations,
    provider_health,
    request_story,
    responses,
    server,
    simple,
    usage,
)
from services.gateway.rest import cache as cache_routes
from services.gateway.rest.connections import Connections
from services.gateway.rest.dispatcher import Dispatcher
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.early_refusals import EarlyRefusals
from services.gateway.rpc.admission import by_key
from services.gateway.rpc.key_servicer import KeyServicer
from services.gateway.rpc.servicer import GatewayServicer

log = logging.getLogger("services.gateway")
GATEWAY = "lumni.gateway.v1.GatewayService"
KEYS = "lumni.gateway.v1.KeyService"
# Bytes of one message about a key: 256 models' names and 16 KiB of metadata, in whatever letters.
LONGEST_KEY = 512 * 1024
LONGEST_DAYS = 3650
HOUR_S = 3600
# A month: a cookie cannot be called back before its time.
LONGEST_SESSION_H = 720


@dataclass(frozen=True)
class Settings:
    """What the gateway needs to know."""

    rest: str = variable("LUMNI_REST_LISTEN", "127.0.0.1:8080", "host:port of the REST server")
    listen: str = variable("LUMNI_LISTEN", "127.0.0.1:50050", "address of the gRPC server")
    classifier: str = variable(
        "LUMNI_CLASSIFIER", "127.0.0.1:50051", "gRPC target of the classifier; inproc: in services.together"
    )
    selector: str = variable(
        "LUMNI_SELECTOR", "127.0.0.1:50052", "gRPC target of the selector; inproc: in services.together"
    )
    executor: str = variable(
        "LUMNI_EXECUTOR", "127.0.0.1:50053", "gRPC target of the executor; inproc: in services.together"
    )
    database: Secret = variable("DATABASE_URL", doc="address of PostgreSQL")
    redis_url: Secret = variable("REDIS_URL", doc="address of Redis")
    api_key: Secret = variable("LUMNI_API_KEY", Secret(""), "a key that works without a row in the database")
    admin_key: Secret = variable("LUMNI_ADMIN_KEY", doc="the key of the admin routes")
    viewer_key: Secret = variable(
        "LUMNI_VIEWER_KEY", Secret(""), "a key that opens /dashboard for reading alone; without it none does"
    )
    session_hours: int = variable(
        "LUMNI_SESSION_HOURS", 12, "hours after which somebody who signed in at /dashboard must do so again"
    )
    key_secret: Secret = variable(
        "LUMNI_KEY_SECRET", Secret(""), "keys the digests of virtual keys; never changes"
    )
    responses_key: Secret = variable(
        "LUMNI_RESPONSES_KEY",
        Secret(""),
        "encrypts the responses that are kept, at least 32 characters; without it none are kept",
    )
    responses_days: int = variable("LUMNI_RESPONSES_DAYS", 30, "days for which responses are kept")
    key_stale_s: float = variable(
        "LUMNI_KEY_STALE_S", 300.0, "how long known keys are good without any store"
    )
    config_dir: Path = variable(
        "LUMNI_CONFIG_DIR", Path("config"), "where litellm_config.yaml and lumni.yaml are"
    )
    grace_s: float = variable(
        "LUMNI_LEDGER_GRACE_S", 60.0, "how long after its deadline an attempt's end is waited for"
    )
    max_mistakes: int = variable(
        "LUMNI_MAX_MISTAKES",
        600,
        "wrong requests of a key in a minute and process, each MiB of them counted; 0 is no limit",
    )
    max_connections: int = variable(
        "LUMNI_MAX_CONNECTIONS", 4096, "REST connections of one process; also bounded by its open files"
    )
    max_connections_per_address: int = variable(
        "LUMNI_MAX_CONNECTIONS_PER_ADDRESS",
        1024,
        "REST connections of one client address; 0 is no bound, for behind a proxy that all callers come through",
    )
    cors: tuple[str, ...] = variable(
        "LUMNI_CORS_ORIGINS", (), "origins whose pages may call; * is any; none by default"
    )
    classify_timeout_s: float = variable(
        "LUMNI_CLASSIFY_TIMEOUT_S", 0.25, "longest wait for a classification"
    )
    select_timeout_s: float = variable("LUMNI_SELECT_TIMEOUT_S", 0.25, "longest wait for a selection")
    max_concurrent: int = variable(
        "LUMNI_MAX_CONCURRENT_REQUESTS",
        512,
        "requests of callers that one process works on at once, open streams included; fewer while it is overloaded",
    )
    records: recording.Settings = part()
    server: rpc.Settings = part()
    telemetry: Telemetry = part()
    cache: CacheSettings = part()

    def __post_init__(self) -> None:
        if self.max_mistakes < 0:
            raise ValueError("LUMNI_MAX_MISTAKES: expected 0 or more")
        if self.viewer_key and self.viewer_key.reveal() in (self.admin_key.reveal(), self.api_key.reveal()):
            raise ValueError("LUMNI_VIEWER_KEY: expected another key than LUMNI_ADMIN_KEY and LUMNI_API_KEY")
        if not 1 <= self.session_hours <= LONGEST_SESSION_H:
            raise ValueError(f"LUMNI_SESSION_HOURS: expected 1 to {LONGEST_SESSION_H}")
        if 0 < len(self.responses_key.reveal()) < SHORTEST_SECRET:
            raise ValueError(f"LUMNI_RESPONSES_KEY: expected at least {SHORTEST_SECRET} characters")
        if not 1 <= self.responses_days <= LONGEST_DAYS:
            raise ValueError(f"LUMNI_RESPONSES_DAYS: expected 1 to {LONGEST_DAYS}")
        if self.max_connections < 1:
            raise ValueError("LUMNI_MAX_CONNECTIONS: expected at least 1")
        if self.max_connections_per_address < 0:
            raise ValueError("LUMNI_MAX_CONNECTIONS_PER_ADDRESS: expected 0 or more")
        if self.max_concurrent < 1:
            raise ValueError("LUMNI_MAX_CONCURRENT_REQUESTS: must be at least 1")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return (self.rest, self.listen)


async def main(settings: Settings) -> None:
    """Serve until asked to stop."""
    async with serving(settings):
        await rpc.until_stopped()
        log.info("draining")


@asynccontextmanager
async def serving(settings: Settings, inside: rpc.InProcess | None = None) -> AsyncIterator[None]:
    """Put the parts together and serve until the block ends; `inside` as in `rpc.connect`."""
    fleet = litellm_config.load(settings.config_dir / "litellm_config.yaml")
    for warning in fleet.warnings:
        log.warning("%s", warning)
    if settings.server.mutual_tls:
        certificates.show_expiry(settings.server.tls_cert)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pool = await enter(postgres.pool(settings.database.reveal()))
        client = redis.connect(settings.redis_url.reveal())
        stack.push_async_callback(client.aclose)

        async def channel(target: str, service: str, *, repeatable: bool) -> grpc.aio.Channel:
            return await enter(
                rpc.connect(target, settings.server, service, repeatable=repeatable, inside=inside)
            )

        classifier = clients.Classifier(
            await channel(settings.classifier, clients.CLASSIFIER, repeatable=True),
            settings.server,
            settings.classify_timeout_s,
            shared=settings.classifier != rpc.INPROC,
        )
        selector = clients.Selector(
            await channel(settings.selector, clients.SELECTOR, repeatable=True),
            settings.server,
            settings.select_timeout_s,
            shared=settings.selector != rpc.INPROC,
        )
        executor = clients.Executor(
            await channel(settings.executor, clients.EXECUTOR, repeatable=False), settings.server
        )
        decisions = DecisionPublisher(client)
        await enter(decisions.publishing())
        loaded = plans.load(settings.config_dir / "lumni.yaml")
        listener = redis.connect(settings.redis_url.reveal(), timeout_s=2.0)
        stack.push_async_callback(listener.aclose)
        feed = ChangeFeed(pool, listener)
        digests = Digests(settings.key_secret, settings.admin_key)
        keys = Authenticator(
            pool,
            feed,
            loaded,
            digests,
            admin_key=settings.admin_key,
            api_key=settings.api_key,
            stale_s=settings.key_stale_s,
        )
        # While Redis is frozen each process waits for so long once, and then counts by itself.
        counter = redis.connect(settings.redis_url.reveal(), timeout_s=0.05)
        stack.push_async_callback(counter.aclose)
        limits = admission.Limits(
            counter, pool, timeout_s=settings.server.timeout_s, grace_s=settings.grace_s
        )
        feed.on_change(lambda subject, _: limits.forget(subject))
        await enter(feed.watching())
        await enter(limits.delivering())
        decider = Decider(
            classifier=classifier,
            selector=selector,
            fallback=FallbackSelection(fleet),
            switches=switches.load(settings.config_dir / "lumni.yaml"),
        )
        cache = await enter(_caching(client, settings)) if settings.cache.key.reveal() else None
        sinks = stack.enter_context(recording.opened(settings.records))
        conducting: Callable[..., Pipeline] = partial(RecordingPipeline, sinks) if sinks else Pipeline
        pipeline = conducting(
            decider=decider,
            executor=executor,
            limits=limits,
            decisions=decisions,
            timeout_s=settings.server.timeout_s,
            cache=cache,
        )
        limiter = ConcurrencyLimiter(settings.max_concurrent)
        await enter(limiter.adapting(executor.ready))
        database = KeyDatabase(pool, client)
        store = KeyStore(database, loaded, digests)
        audit = AuditTrail(database)
        stores = admin.Stores(store, OwnerStore(database), audit, PersonalData(database), cache)
        mistakes = MistakeLimit(settings.max_mistakes)
        service = rpc.Service(
            GATEWAY,
            gateway_pb2_grpc.add_GatewayServiceServicer_to_server,
            GatewayServicer(limiter, pipeline, mistakes),
        )
        key_service = rpc.Service(
            KEYS, keys_pb2_grpc.add_KeyServiceServicer_to_server, KeyServicer(store), longest=LONGEST_KEY
        )
        grpc_address = await enter(
            rpc.serve(settings.listen, settings.server, [service, key_service], admit=by_key(keys))
        )
        readers = Readers(pool)
        reports = UsageReports(readers)
        health: dict[str, Callable[[], Awaitable[bool]]] = {
            "classifier": classifier.ready,
            "selector": selector.ready,
            "executor": executor.ready,
            "redis": partial(_answers, client),
            "postgres": partial(_connects, pool),
        }
        checks = EarlyChecks(keys, limiter, mistakes, limits)
        requests = RequestReports(readers)
        sources = dashboard.Sources(
            used=reports,
            requests=requests,
            fleet=FleetReports(executor, selector),
            keys=store,
            audit=stores.audit,
            plans=loaded,
            playground=Playground(pipeline, partial(checks.passed, settings.admin_key.reveal())),
        )
        app = application.create(
            [
                dashboard.router(_sessions(settings), sources),
                operations.router(keys, health),
                provider_health.router(keys, ProviderReports(client, executor, fleet)),
                admin.router(keys, stores, reports),
                cache_routes.router(keys, audit, cache),
                usage.router(keys, reports),
                request_story.router(keys, requests),
                feedback.router(keys, FeedbackStore(pool), pipeline),
            ]
        )
        routes = [
            *model_calls.routes(pipeline),
            *messages.routes(pipeline),
            *simple.routes(pipeline),
            *responses.routes(pipeline, _response_store(pool, settings)),
            *not_served.routes(),
            *inference.routes(keys, pipeline, selector, fleet),
        ]
        dispatcher = Dispatcher(app, routes, checks, ByteBudget(settings.server.max_message_mib * 2**20))
        rest = EarlyRefusals(
            application.with_middleware(dispatcher, origins=settings.cors), dispatcher, checks
        )
        connections = Connections(
            server.below_file_limit(settings.max_connections), settings.max_connections_per_address
        )
        rest_address = await enter(
            server.serve(
                rest,
                settings.rest,
                settings.server.timeout_s,
                connections=connections,
                shares_port=settings.server.workers > 1,
            )
        )
        log.info("the gateway serves REST on %s and gRPC on %s", rest_address, grpc_address)
        yield


def _sessions(settings: Settings) -> Sessions:
    keys = {Role.ADMIN: settings.admin_key, Role.VIEWER: settings.viewer_key}
    return Sessions(keys, settings.key_secret, settings.session_hours * HOUR_S)


def _response_store(pool: postgres.Pool, settings: Settings) -> ResponseStore | None:
    secret = settings.responses_key.reveal()
    if not secret:
        return None
    return ResponseStore(pool, Cipher(secret, conversations.PURPOSE), settings.responses_days)


@asynccontextmanager
async def _caching(client: redis.Redis, settings: Settings) -> AsyncIterator[ResponseCache]:
    limits, secret = settings.cache, settings.cache.key.reveal()
    bounds = cached.Bounds(
        answer=limits.answer_kib * 2**10,
        tenant=limits.tenant_mib * 2**20,
        total=limits.total_mib * 2**20,
        request_s=settings.server.timeout_s,
    )
    store = cached.AnswerStore(client, Cipher(secret, cached.PURPOSE), bounds)
    version = ConfigurationVersion(
        settings.config_dir / "litellm_config.yaml", settings.config_dir / "lumni.yaml"
    )
    async with store.delivering():
        yield ResponseCache(store, AnswerKeys(secret, version), ttl_s=limits.ttl_s, wait_s=limits.wait_s)


async def _answers(client: redis.Redis) -> bool:
    try:
        return bool(await client.ping())
    except redis.ERRORS:
        return False


async def _connects(pool: postgres.Pool) -> bool:
    try:
        async with postgres.connection(pool, timeout_s=0.5) as connection:
            return await connection.fetchval("SELECT true", timeout=0.5) is True
    except postgres.ERRORS:
        return False


if __name__ == "__main__":
    workers.run("gateway", reader(Settings, litellm_environment.of_gateway), main)
