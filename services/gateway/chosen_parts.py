"""The parts of a gateway that its settings choose, or that they say more of than a line."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from services.chassis import redis
from services.gateway import postgres
from services.gateway.cache import store as cached
from services.gateway.cache.answer_key import AnswerKeys, ConfigurationVersion
from services.gateway.cache.response_cache import ResponseCache
from services.gateway.cache.similar_questions import SimilarQuestions
from services.gateway.cipher import Cipher
from services.gateway.conversations import store as conversations
from services.gateway.conversations.store import ResponseStore
from services.gateway.dashboard import routes as dashboard
from services.gateway.dashboard.oidc.settings import Settings as OidcSettings
from services.gateway.dashboard.session import Role, Sessions
from services.gateway.peers import clients
from services.gateway.recording import text_store as texts
from services.gateway.recording.record import Content
from services.gateway.recording.text_store import TextStore
from services.gateway.reports import portkey_feedback
from services.gateway.reports.readers import READERS
from services.gateway.settings import Settings

HOUR_S = 3600


def reports_pool(settings: Settings) -> AbstractAsyncContextManager[postgres.Pool]:
    """Connections to the replica that reports are read from."""
    return postgres.pool(
        settings.reports_database.reveal(),
        size=READERS,
        measured=False,
        transaction_pooler=settings.transaction_pooler,
    )


def sessions(settings: Settings) -> Sessions:
    """Who is signed in at the page."""
    keys = {Role.ADMIN: settings.admin_key, Role.VIEWER: settings.viewer_key}
    return Sessions(
        keys,
        settings.key_secret,
        settings.session_hours * HOUR_S,
        provider_secret=settings.oidc.client_secret,
    )


@asynccontextmanager
async def oidc(settings: OidcSettings) -> AsyncIterator[dashboard.Oidc]:
    """Who else signs people in at the page."""
    # 200 ms and 8 MiB, for those who have such a provider alone.
    import httpx

    from services.gateway.dashboard.oidc.provider import TIMEOUT_S, Provider

    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        yield dashboard.Oidc(Provider(client, settings), settings)


def response_store(pool: postgres.Pool, settings: Settings) -> ResponseStore | None:
    """Where responses are kept; None where no secret encrypts them."""
    if not settings.responses_key:
        return None
    return ResponseStore(pool, Cipher(settings.responses_key, conversations.PURPOSE), settings.responses_days)


def text_store(pool: postgres.Pool, settings: Settings) -> TextStore | None:
    """Where prompts and answers are kept; None where no secret encrypts them."""
    if not settings.records.prompts_key:
        return None
    content = Content(settings.records.prompts_content)
    return TextStore(
        pool, Cipher(settings.records.prompts_key, texts.PURPOSE), settings.records.prompts_days, content
    )


@asynccontextmanager
async def caching(
    client: redis.Redis, classifier: clients.Classifier, settings: Settings
) -> AsyncIterator[ResponseCache]:
    """The response cache, which delivers what it keeps until the block ends."""
    limits = settings.cache
    bounds = cached.Bounds(
        answer=limits.answer_kib * 2**10,
        tenant=limits.tenant_mib * 2**20,
        total=limits.total_mib * 2**20,
        request_s=settings.server.timeout_s,
    )
    store = cached.AnswerStore(client, Cipher(limits.key, cached.PURPOSE), bounds)
    keys = AnswerKeys(limits.key.reveal(), ConfigurationVersion(settings.config_dir))
    similar = SimilarQuestions(store, keys, classifier.embed) if limits.semantic else None
    async with store.delivering():
        yield ResponseCache(store, keys, ttl_s=limits.ttl_s, wait_s=limits.wait_s, similar=similar)


@asynccontextmanager
async def portkey(settings: Settings) -> AsyncIterator[portkey_feedback.PortkeyFeedback]:
    """Sends verdicts to Portkey until the block ends."""
    # As above.
    import httpx

    async with httpx.AsyncClient(timeout=portkey_feedback.TIMEOUT_S) as client:
        one = portkey_feedback.PortkeyFeedback(
            client, settings.portkey_feedback, settings.telemetry.spans.portkey_key
        )
        async with one.sending():
            yield one
