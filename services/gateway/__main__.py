"""Run the gateway: python -m services.gateway."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import grpc
from lumni.gateway.v1 import experiments_pb2_grpc, gateway_pb2_grpc, keys_pb2_grpc

from services.chassis import configured_environment, redis, rpc, workers
from services.chassis.background import beside
from services.chassis.byte_budget import ByteBudget
from services.chassis.config import reader
from services.gateway import certificates, chosen_parts, postgres
from services.gateway.configuration import Configuration
from services.gateway.dashboard import routes as dashboard
from services.gateway.dashboard.models import FleetReports
from services.gateway.dashboard.playground import Playground
from services.gateway.experiments.live import LiveExperiments
from services.gateway.experiments.results import ExperimentResults
from services.gateway.experiments.store import ExperimentStore
from services.gateway.health.provider_reports import ProviderReports
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.changes import ChangeFeed
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.digests import Digests
from services.gateway.keys.erasure import PersonalData
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.store import KeyStore
from services.gateway.learning.judgements import Judgements
from services.gateway.learning.report import LearningReports
from services.gateway.limits import admission
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.mirroring.mirrors import Mirrors
from services.gateway.mirroring.pipeline import MirroringPipeline
from services.gateway.mirroring.store import MirrorReports, MirrorStore
from services.gateway.mirroring.target import Target
from services.gateway.peers import clients
from services.gateway.peers.decisions import DecisionPublisher
from services.gateway.peers.fallback_selection import FallbackSelection
from services.gateway.peers.shadows import Shadows
from services.gateway.peers.versions import PublishedVersions, Served
from services.gateway.pipeline.added_prompts import SystemPromptRules
from services.gateway.pipeline.decision import Decider
from services.gateway.prompts.expander import RequestExpander
from services.gateway.prompts.library import PromptLibrary
from services.gateway.prompts.store import PromptStore
from services.gateway.prompts.stored_rules import StoredRules
from services.gateway.recording import sinks as recording
from services.gateway.recording.consented_prompts import ConsentedPrompts
from services.gateway.replays.replay import Replays
from services.gateway.reports.feedback import FeedbackStore
from services.gateway.reports.readers import Readers
from services.gateway.reports.requests import RequestReports
from services.gateway.reports.savings import SavingsReports
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
    prompt_calls,
    provider_health,
    request_story,
    responses,
    server,
    simple,
    usage,
)
from services.gateway.rest import cache as cache_routes
from services.gateway.rest import configuration as configuration_routes
from services.gateway.rest import evaluation as evaluation_routes
from services.gateway.rest import experiments as experiment_routes
from services.gateway.rest import learning as learning_routes
from services.gateway.rest import mirrors as mirror_routes
from services.gateway.rest import prompts as prompt_routes
from services.gateway.rest import replay as replay_routes
from services.gateway.rest.connections import Connections
from services.gateway.rest.dispatcher import Dispatcher
from services.gateway.rest.draining import Draining
from services.gateway.rest.early_checks import EarlyChecks
from services.gateway.rest.early_refusals import EarlyRefusals
from services.gateway.rpc.admission import by_key
from services.gateway.rpc.experiment_servicer import ExperimentServicer
from services.gateway.rpc.key_servicer import KeyServicer
from services.gateway.rpc.servicer import GatewayServicer
from services.gateway.settings import Settings

log = logging.getLogger("services.gateway")
GATEWAY = "lumni.gateway.v1.GatewayService"
KEYS = "lumni.gateway.v1.KeyService"
EXPERIMENTS = "lumni.gateway.v1.ExperimentService"
# Bytes of one message about a key: 256 models' names and 16 KiB of metadata, in whatever letters.
LONGEST_KEY = 512 * 1024
# Of one about an experiment: 8 variants.
LONGEST_EXPERIMENT = 64 * 1024


async def main(settings: Settings) -> None:
    """Serve until asked to stop."""
    async with serving(settings):
        await rpc.until_stopped()
        log.info("draining")


@asynccontextmanager
async def serving(settings: Settings, inside: rpc.InProcess | None = None) -> AsyncIterator[None]:
    """Put the parts together and serve until the block ends; `inside` as in `rpc.connect`."""
    configuration = Configuration(settings.config_dir)
    fleet, loaded = configuration.fleet, configuration.plans
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        if settings.server.mutual_tls:
            await enter(beside(certificates.show_expiry(settings.server.tls_cert)))
        pooler = settings.transaction_pooler
        pool = await enter(postgres.pool(settings.database.reveal(), transaction_pooler=pooler))
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
        decisions = DecisionPublisher(client, partitions=settings.partitions)
        await enter(decisions.publishing())
        shadows = Shadows(classifier, decisions)
        await enter(shadows.judging())
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
        loaded.on_change(lambda _: limits.forget_all())
        fallback = FallbackSelection(fleet.current)
        fleet.on_change(fallback.take)
        decider = Decider(
            classifier=classifier,
            selector=selector,
            fallback=fallback,
            switches=configuration.switches,
            version=configuration.version,
        )
        cache = (
            await enter(chosen_parts.caching(client, classifier, settings)) if settings.cache.key else None
        )
        if settings.cache.semantic and not any(
            plan.semantic_cache for plan in loaded.current.by_name.values()
        ):
            log.warning("the semantic cache is off: no plan of lumni.yaml has semantic_cache: true")
        experiments = LiveExperiments(pool)
        await enter(experiments.following())
        configured = configuration.system_prompts
        rules = StoredRules(pool, configured)
        await enter(rules.following())
        texts = chosen_parts.text_store(pool, settings)
        sinks = await enter(recording.opened(settings.records, texts))
        added = rules.texts.derived(SystemPromptRules)
        target = Target(decider=decider, executor=executor, limits=limits, decisions=decisions, rules=added)
        mirrors = Mirrors(configuration.mirrors, target, MirrorStore(pool))
        await enter(mirrors.mirroring())
        pipeline = MirroringPipeline(
            mirrors,
            sinks,
            decider=decider,
            executor=executor,
            limits=limits,
            decisions=decisions,
            timeout_s=settings.server.timeout_s,
            cache=cache,
            experiments=experiments,
            system_prompts=added,
            shadows=shadows,
        )
        prompts = RequestExpander(PromptLibrary(pool), experiments, pipeline.events.unfit_version)
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
            GatewayServicer(limiter, pipeline, prompts, mistakes),
        )
        key_service = rpc.Service(
            KEYS, keys_pb2_grpc.add_KeyServiceServicer_to_server, KeyServicer(store), longest=LONGEST_KEY
        )
        readers = Readers(
            await enter(chosen_parts.reports_pool(settings)) if settings.reports_database else pool
        )
        stored = PromptStore(database, configured)
        divided, learnt = ExperimentStore(database), ExperimentResults(readers)
        experiment_service = rpc.Service(
            EXPERIMENTS,
            experiments_pb2_grpc.add_ExperimentServiceServicer_to_server,
            ExperimentServicer(divided, learnt),
            longest=LONGEST_EXPERIMENT,
        )
        served = [service, key_service, experiment_service]
        grpc_address = await enter(rpc.serve(settings.listen, settings.server, served, admit=by_key(keys)))
        portkey = await enter(chosen_parts.portkey(settings)) if settings.portkey_feedback else None
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
        provider_reports = ProviderReports(client, executor, fleet.current)
        fleet.on_change(provider_reports.take)
        replays = Replays(readers, selector, settings.config_dir)
        sources = dashboard.Sources(
            used=reports,
            requests=requests,
            texts=texts,
            fleet=FleetReports(provider_reports, selector),
            keys=store,
            audit=stores.audit,
            plans=loaded,
            playground=Playground(pipeline, partial(checks.passed, settings.admin_key.reveal())),
            prompts=stored,
            rules=configured,
            experiments=divided,
            results=learnt,
            replays=replays,
        )
        oidc = await enter(chosen_parts.oidc(settings.oidc)) if settings.oidc.issuer else None
        versions = PublishedVersions(
            client, lambda: Served(configuration.version.current, configuration.mistake)
        )
        draining = Draining(settings.drain_delay_s)
        app = application.create(
            [
                dashboard.router(chosen_parts.sessions(settings), sources, oidc=oidc),
                operations.router(keys, health, draining),
                provider_health.router(keys, provider_reports),
                admin.router(keys, stores, reports),
                cache_routes.router(keys, audit, cache),
                configuration_routes.router(keys, configuration, versions),
                prompt_routes.router(keys, stored),
                experiment_routes.router(keys, divided, learnt),
                usage.router(keys, reports, SavingsReports(readers)),
                mirror_routes.router(keys, configuration.mirrors, MirrorReports(readers), reports),
                replay_routes.router(keys, replays),
                request_story.router(keys, requests, texts),
                feedback.router(keys, FeedbackStore(pool, portkey=portkey), pipeline),
                evaluation_routes.router(keys, ConsentedPrompts(pool, texts, loaded)),
                learning_routes.router(keys, Judgements(pool), LearningReports(readers)),
            ]
        )
        routes = [
            *model_calls.routes(pipeline, prompts),
            *prompt_calls.routes(pipeline, prompts),
            *messages.routes(pipeline),
            *simple.routes(pipeline),
            *responses.routes(pipeline, prompts, chosen_parts.response_store(pool, settings)),
            *not_served.routes(),
            *inference.routes(keys, pipeline, prompts, selector, fleet),
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
                draining=draining,
                shares_port=settings.server.workers > 1,
            )
        )
        log.info("the gateway serves REST on %s and gRPC on %s", rest_address, grpc_address)
        async with beside(configuration.watch(settings.reload_s)), beside(versions.publishing()):
            yield


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
    workers.run("gateway", reader(Settings, configured_environment.of_gateway), main)
