"""Response caches as tests need them: several gateways' over one Valkey."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from services.chassis import redis
from services.chassis.config import Secrets
from services.gateway.cache.answer_key import AnswerKeys, ConfigurationVersion
from services.gateway.cache.response_cache import ResponseCache
from services.gateway.cache.similar_questions import SimilarQuestions
from services.gateway.cache.store import PURPOSE, AnswerStore, Bounds
from services.gateway.cipher import Cipher

SECRET = "a secret of the tests for answers"
# A folder without a configuration.
NO_FILES = Path(__file__).parent
BOUNDS = Bounds(answer=256 * 1024, tenant=2**20, total=2**21, request_s=60)


@asynccontextmanager
async def storing(client: redis.Redis, bounds: Bounds = BOUNDS) -> AsyncIterator[AnswerStore]:
    """One process' store."""
    store = AnswerStore(client, Cipher(Secrets(SECRET), PURPOSE), bounds)
    async with store.delivering():
        yield store


@asynccontextmanager
async def caching(
    client: redis.Redis,
    configuration: Path = NO_FILES,
    ttl_s: int = 60,
    wait_s: float = 60,
    embed: Callable[[str], Awaitable[Sequence[float]]] | None = None,
) -> AsyncIterator[ResponseCache]:
    """One process' cache; with `embed` a semantic one, too."""
    async with storing(client) as store:
        keys = AnswerKeys(SECRET, ConfigurationVersion(configuration))
        similar = SimilarQuestions(store, keys, embed) if embed is not None else None
        yield ResponseCache(store, keys, ttl_s=ttl_s, wait_s=wait_s, similar=similar)
