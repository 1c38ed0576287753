"""The parts of keys on real stores."""

from collections.abc import AsyncIterator

import pytest

from services.chassis import redis
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys.audit import AuditTrail
from services.gateway.keys.authenticator import Authenticator
from services.gateway.keys.database import KeyDatabase
from services.gateway.keys.erasure import PersonalData
from services.gateway.keys.owners import OwnerStore
from services.gateway.keys.store import KeyStore
from tests.gateway.authentication import DIGESTS, authenticating


@pytest.fixture
async def keys(pool: postgres.Pool, client: redis.Redis, configured: Plans) -> AsyncIterator[Authenticator]:
    """The authentication of a gateway process."""
    async with authenticating(pool, client, Live(configured)) as one:
        yield one


@pytest.fixture
def key_database(pool: postgres.Pool, client: redis.Redis) -> KeyDatabase:
    """Where keys and owners are kept."""
    return KeyDatabase(pool, client)


@pytest.fixture
def store(key_database: KeyDatabase, configured: Plans) -> KeyStore:
    """What an admin changes keys with."""
    return KeyStore(key_database, Live(configured), DIGESTS)


@pytest.fixture
def owners(key_database: KeyDatabase) -> OwnerStore:
    """What an admin changes users and organizations with."""
    return OwnerStore(key_database)


@pytest.fixture
def audit(key_database: KeyDatabase) -> AuditTrail:
    """What an admin reads of changes."""
    return AuditTrail(key_database)


@pytest.fixture
def personal(key_database: KeyDatabase) -> PersonalData:
    """What an admin exports and erases."""
    return PersonalData(key_database)
