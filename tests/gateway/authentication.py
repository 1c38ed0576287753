"""Keys and who checks them, as tests need them: the parts that a gateway process puts together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis import errors, redis
from services.chassis.config import Secrets
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.changes import OVERLAP_S, ChangeFeed
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.digests import Digests
from services.gateway.keys.store import KeyStore
from tests.gateway.conftest import eventually

ADMIN = "sk-lumni-admin-0123456789"
BOOTSTRAP = "sk-lumni-bootstrap-0123456789"
PEPPER = Secrets("pepper")
DIGESTS = Digests(PEPPER, Secrets(ADMIN))


def store_of(pool: postgres.Pool, client: redis.Redis, plans: Plans, digests: Digests = DIGESTS) -> KeyStore:
    """What an admin changes keys with."""
    return KeyStore(KeyDatabase(pool, client), Live(plans), digests)


@asynccontextmanager
async def authenticating(
    pool: postgres.Pool,
    client: redis.Redis,
    plans: Live[Plans],
    *,
    stale_s: float = 300.0,
    overlap_s: float = OVERLAP_S,
    digests: Digests = DIGESTS,
) -> AsyncIterator[Authenticator]:
    """The authentication of one gateway process, which reads changes until the block ends."""
    feed = ChangeFeed(pool, client, overlap_s=overlap_s)
    keys = Authenticator(
        pool,
        feed,
        plans,
        digests,
        admin_key=Secrets(ADMIN),
        api_key=Secrets(BOOTSTRAP),
        stale_s=stale_s,
    )
    async with feed.watching():
        yield keys


@asynccontextmanager
async def alone(
    database: str, valkey: str, plans: Live[Plans], *, stale_s: float = 300.0, overlap_s: float = OVERLAP_S
) -> AsyncIterator[Authenticator]:
    """The same with stores of its own, which may be down."""
    async with (
        postgres.pool(database, timeout_s=1) as pool,
        redis.connect(valkey, timeout_s=2) as client,
        authenticating(pool, client, plans, stale_s=stale_s, overlap_s=overlap_s) as keys,
    ):
        yield keys


async def until_refused(keys: Authenticator, key: str) -> None:
    """Use a key until it is refused."""

    async def refused() -> bool:
        try:
            await keys.caller(key)
        except errors.Unauthenticated:
            return True
        return False

    await eventually(refused)
