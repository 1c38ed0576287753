"""Authentication: who holds the key that a request shows.

Only keyed digests of keys are stored and cached, always whole. Of a key that another system stored as its SHA-256, the
digest is keyed over that; it is looked for in the same query, and afterwards known like every other. What a process
knows of a key stays good while it reads changes from Redis or PostgreSQL (`changes`). A process that is cut off from
both trusts what it knows for `stale_s` and then says 503. A store that cannot be asked never turns a key down: that is
a 503 too.
"""

import asyncio
import hmac
import time
from collections.abc import Sequence

import prometheus_client

from services.chassis import errors
from services.chassis.config import Secrets
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.keys import permissions, store
from services.gateway.keys.cache import KeyCache, KnownKey
from services.gateway.keys.changes import ChangeFeed
from services.gateway.keys.digests import IMPORTED_PREFIX, Digests
from services.gateway.keys.permissions import Caller

# Longer than any key of ours; a longer one is not looked at.
LONGEST = 256

# What the holder of a key reads that was good once.
# OpenAI's words: LiteLLM's SDK takes every other refusal of a key for a mistake in the request.
INCORRECT = "Incorrect API key provided"
ENDED = {
    "revoked": f"{INCORRECT}: this one was revoked",
    "rotated": f"{INCORRECT}: this one was replaced by a newer one",
    "expired": f"{INCORRECT}: this one has expired",
}

REFUSED = prometheus_client.Counter("lumni_gateway_refused_keys", "Keys that were turned down.", ["reason"])

QUERY = """
SELECT s.digest, s.digest_of, extract(epoch FROM s.valid_until)::float8 AS valid_until,
       k.key_id, k.user_id, coalesce(k.organization_id, u.organization_id) AS organization_id, k.plan, k.models,
       k.rpm_limit, k.tpm_limit, k.parallel_limit, k.budget_nano_usd, k.budget_period, k.metadata,
       k.powerful_share, k.store_prompts,
       extract(epoch FROM k.expires_at)::float8 AS expires_at, k.revoked_at IS NOT NULL AS revoked,
       u.rpm_limit AS user_rpm, u.tpm_limit AS user_tpm, u.parallel_limit AS user_parallel,
       u.budget_nano_usd AS user_budget, u.budget_period AS user_period,
       o.rpm_limit AS organization_rpm, o.tpm_limit AS organization_tpm, o.parallel_limit AS organization_parallel,
       o.budget_nano_usd AS organization_budget, o.budget_period AS organization_period
FROM key_secrets s
JOIN virtual_keys k USING (key_id)
LEFT JOIN users u ON u.user_id = k.user_id
LEFT JOIN organizations o ON o.organization_id = coalesce(k.organization_id, u.organization_id)
WHERE (s.digest = ANY($1) AND s.digest_of = 'key') OR (s.digest = ANY($2) AND s.digest_of = 'sha256')
"""


def bearer(headers: Sequence[str]) -> str:
    """The key in the values of a request's Authorization headers; empty when there is none.

    Raises:
        Invalid: there are several; which one counts would be anybody's guess.
    """
    if len(headers) > 1:
        raise errors.Invalid("authorization: sent more than once; send one", param="authorization")
    scheme, _, key = headers[0].partition(" ") if headers else ("", "", "")
    return key.strip() if scheme.lower() == "bearer" else ""


def check_admin(caller: Caller) -> Caller:
    """The caller, who is an admin.

    Raises:
        Forbidden: the key is good, but no admin's.
    """
    if not caller.is_admin:
        raise errors.Forbidden("this needs the admin key", reason="ADMIN_ONLY")
    return caller


class Authenticator:
    """Says who holds a key; each key is looked up once and then known until it changes."""

    def __init__(
        self,
        pool: postgres.Pool,
        feed: ChangeFeed,
        plans: Live[Plans],
        digests: Digests,
        *,
        admin_key: Secrets,
        api_key: Secrets = Secrets(""),
        stale_s: float = 300.0,
    ) -> None:
        """Know the keys that need no database row.

        Args:
            pool: Where keys are looked up.
            feed: Reports changes.
            plans: What plans grant.
            digests: How keys are stored.
            admin_key: The key of the admin routes, and the one before it.
            api_key: A key with the bootstrap plan, and the one before it; empty is none.
            stale_s: How long known keys are good while no change can be read.
        """
        self._pool = pool
        self._feed = feed
        self._plans = plans
        self._digests = digests
        self._stale_s = stale_s
        self._admin_digests = [digests.of(one.reveal()) for one in admin_key.accepted]
        self._bootstrap_digests = [digests.of(one.reveal()) for one in api_key.accepted]
        self._cache = KeyCache()
        self._lookups: dict[bytes, asyncio.Task[KnownKey | None]] = {}
        feed.on_change(lambda subject, revoked: self._cache.change(subject, revoked=revoked))
        feed.on_gap(self._cache.change_all)
        # What is known of keys holds limits of the plans before.
        plans.on_change(lambda _: self._cache.change_all())

    async def caller(self, key: str) -> Caller:
        """Say who holds a key.

        Raises:
            Unauthenticated: missing, malformed, unknown, expired or revoked.
            Forbidden: its plan is not configured any more.
            Unavailable: neither memory nor the database can tell.
        """
        if not key:
            raise _refusal("missing", "no API key: send the header 'Authorization: Bearer sk-lumni-...'")
        if len(key) > LONGEST:
            raise _refusal("malformed", f"{INCORRECT}: this is no key of ours")
        digest = self._digests.of(key)
        if configured := self._configured(digest):
            return configured
        if not key.startswith(IMPORTED_PREFIX):
            raise _refusal("malformed", f"{INCORRECT}: this is no key of ours; they begin with sk-")
        known = await self._known(digest, key)
        if known is None:
            raise _refusal("unknown", f"{INCORRECT}: this one is not known here")
        return _checked(known)

    def remembered(self, key: str) -> Caller | None:
        """Who holds a good key, if this process knows that without asking the database."""
        if not key or len(key) > LONGEST:
            return None
        digest = self._digests.of(key)
        if configured := self._configured(digest):
            return configured
        known = self._cache.get(digest)
        if known is None or known.stale or not self._in_touch or _ended(known):
            return None
        return known.caller

    async def admin(self, key: str) -> Caller:
        """Say who holds an admin key.

        Raises:
            Unauthenticated: as `caller`.
            Forbidden: the key is good, but no admin's.
            Unavailable: as `caller`.
        """
        return check_admin(await self.caller(key))

    def as_if(self, caller: Caller, plan: str) -> Caller:
        """The caller as another plan would treat him, for what-if questions; an empty name changes nothing.

        Raises:
            Invalid: there is no such plan.
        """
        return permissions.as_if(caller, plan, self._plans.current)

    def _configured(self, digest: bytes) -> Caller | None:
        """The holder of one of the keys that have no row in the database."""
        if any(hmac.compare_digest(digest, one) for one in self._admin_digests):
            return permissions.without_row(permissions.ADMIN, self._plans.current.bootstrap, is_admin=True)
        if any(hmac.compare_digest(digest, one) for one in self._bootstrap_digests):
            return permissions.without_row(
                permissions.BOOTSTRAP, self._plans.current.bootstrap, is_admin=False
            )
        return None

    @property
    def _in_touch(self) -> bool:
        """Whether changes were read recently enough to trust what is known."""
        return self._feed.silent_s <= self._stale_s

    async def _known(self, digest: bytes, key: str) -> KnownKey | None:
        known = self._cache.get(digest)
        if known is not None and not known.stale:
            if self._in_touch:
                return known
        elif self._cache.is_unknown(digest):
            return None
        try:
            return await self._look_up(digest, key)
        except postgres.ERRORS as error:
            # A change that could not be read yet may be a new limit; a revocation is marked as one.
            if known is not None and self._in_touch:
                return known
            raise errors.Unavailable(
                "keys cannot be checked at the moment", reason="KEY_STORE_UNAVAILABLE", retry_after_s=1
            ) from error

    async def _look_up(self, digest: bytes, key: str) -> KnownKey | None:
        """Ask the database once for all requests that show the same key meanwhile."""
        task = self._lookups.get(digest)
        if task is None:
            task = asyncio.create_task(self._fetch(digest, key))
            self._lookups[digest] = task
            task.add_done_callback(lambda done: self._looked_up(digest, done))
        # A caller who leaves does not take the answer away from the others.
        return await asyncio.shield(task)

    def _looked_up(self, digest: bytes, task: asyncio.Task[KnownKey | None]) -> None:
        del self._lookups[digest]
        if not task.cancelled():
            # Retrieve it, for no caller may be left to do so.
            task.exception()

    async def _fetch(self, digest: bytes, key: str) -> KnownKey | None:
        """Ask for all ways in which a key may be stored at once, and remember it as all others by its own digest."""
        before = self._cache.changes
        stored = {"key": self._digests.accepted(key), "sha256": self._digests.accepted_sha256(key)}
        async with postgres.connection(self._pool) as connection:
            row = await connection.fetchrow(QUERY, stored["key"], stored["sha256"])
            if row is not None and row["digest"] != digest:
                await store.rekey(connection, row["digest"], digest, self._digests.keyed_by)
        if row is None or not any(
            hmac.compare_digest(row["digest"], one) for one in stored[row["digest_of"]]
        ):
            self._cache.put_unknown(digest)
            return None
        known = KnownKey(
            permissions.from_row(dict(row), self._plans.current),
            row["valid_until"],
            revoked=row["revoked"],
            # What changed while this was read may have changed this.
            stale=self._cache.changes != before,
        )
        self._cache.put(digest, known)
        return known


def _checked(known: KnownKey) -> Caller:
    if ended := _ended(known):
        raise _refusal(ended, ENDED[ended])
    return known.caller


def _ended(known: KnownKey) -> str:
    """Why a known key is no longer good; empty when it is."""
    now = time.time()
    if known.revoked:
        return "revoked"
    if known.valid_until is not None and known.valid_until <= now:
        return "rotated"
    if known.caller.expires_at is not None and known.caller.expires_at <= now:
        return "expired"
    return ""


def _refusal(reason: str, message: str) -> errors.Unauthenticated:
    REFUSED.labels(reason).inc()
    return errors.Unauthenticated(message)
