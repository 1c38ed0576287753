"""Virtual keys: who is calling, and what they may do.

Only keyed digests of keys are stored and cached, always whole. What a process knows of a key stays good while it hears
of changes: from a Redis stream at once, and from PostgreSQL every half second. A process that is cut off from both
believes what it knows for `stale_s` and then says 503. A store that cannot be asked never turns a key down: that is a
503 too.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import prometheus_client

from services.chassis import errors, redis, redis_keys
from services.chassis.config import Secret
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.plans import Plan, Plans, Rate

log = logging.getLogger(__name__)

PREFIX = "sk-lumni-"
# What keys of another system that were imported begin with.
IMPORTED_PREFIX = "sk-"
# Longer than any key of ours; a longer one is not looked at.
LONGEST = 256
KNOWN = 100_000
UNKNOWN = 10_000
# How long an unknown key stays unknown without asking again, in seconds.
UNKNOWN_S = 1.0
POLL_S = 0.5
# Changes are read again for so long, in seconds, as a transaction may commit after a younger one.
OVERLAP_S = 10.0
# How long the table keeps changes, in seconds; who was away for longer believes nothing any more.
CHANGES_KEPT_S = 86400
UNLIMITED = Rate()

REFUSED = prometheus_client.Counter("lumni_gateway_refused_keys", "Keys that were turned down.", ["reason"])
CUT_OFF = prometheus_client.Gauge(
    "lumni_gateway_key_changes_unheard_seconds", "Since when neither store told of changed keys."
)

QUERY = """
SELECT s.digest, extract(epoch FROM s.valid_until)::float8 AS valid_until,
       k.key_id, k.user_id, coalesce(k.organization_id, u.organization_id) AS organization_id, k.plan, k.models,
       k.rpm_limit, k.tpm_limit, k.parallel_limit, k.budget_nano_usd, k.budget_period, k.metadata,
       k.powerful_share,
       extract(epoch FROM k.expires_at)::float8 AS expires_at, k.revoked_at IS NOT NULL AS revoked,
       u.rpm_limit AS user_rpm, u.tpm_limit AS user_tpm, u.parallel_limit AS user_parallel,
       u.budget_nano_usd AS user_budget, u.budget_period AS user_period,
       o.rpm_limit AS organization_rpm, o.tpm_limit AS organization_tpm, o.parallel_limit AS organization_parallel,
       o.budget_nano_usd AS organization_budget, o.budget_period AS organization_period
FROM key_secrets s
JOIN virtual_keys k USING (key_id)
LEFT JOIN users u ON u.user_id = k.user_id
LEFT JOIN organizations o ON o.organization_id = coalesce(k.organization_id, u.organization_id)
WHERE s.digest = $1
"""
CHANGES = """
SELECT change_id, subject FROM key_changes WHERE changed_at > now() - make_interval(secs => $1) ORDER BY change_id
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody whose requests, tokens and money are counted: `key:ID`, `user:ID` or `organization:ID`."""

    name: str
    rate: Rate = UNLIMITED
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, and what they may do. Texts are empty where there is nobody."""

    key_id: str
    plan: Plan
    user_id: str = ""
    organization_id: str = ""
    # Separates what may never be shared: caches, counters, sticky choices.
    tenant: str = ""
    # The models this key is limited to, by name; empty is all of the plan's.
    models: tuple[str, ...] = ()
    subjects: tuple[Subject, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    # The share of this key's requests that may go to powerful models; None is the plan's.
    powerful_share: float | None = None
    is_admin: bool = False
    # Seconds since 1970; None never expires.
    expires_at: float | None = None


@dataclass(slots=True)
class _Entry:
    """What is known of one digest."""

    row: Mapping[str, Any]
    caller: Caller
    # A change was heard of since; look again.
    stale: bool = False
    revoked: bool = False


def digest(key: str, secret: Secret) -> bytes:
    """What is stored of a key: 32 bytes that lead nowhere without the secret."""
    return hmac.digest(secret.reveal().encode() or b"lumni", key.encode("utf-8", "replace"), hashlib.sha256)


class Keys:
    """All keys of this installation, as far as this process knows them."""

    def __init__(
        self,
        pool: postgres.Pool,
        client: redis.Redis,
        plans: Plans,
        *,
        admin_key: Secret,
        api_key: Secret = Secret(""),
        secret: Secret = Secret(""),
        stale_s: float = 300.0,
        overlap_s: float = OVERLAP_S,
    ) -> None:
        """Know the two keys that need no database row.

        Args:
            pool: Where keys are looked up.
            client: Tells of changes; its commands may block for a second.
            plans: What plans grant.
            admin_key: The key of the admin routes.
            api_key: A key with the bootstrap plan; empty is none.
            secret: Keys the digests; must be the same in all processes, for good.
            stale_s: How long known keys are good while neither store can be heard.
            overlap_s: How long changes are read again.
        """
        self._pool = pool
        self._redis = client
        self._plans = plans
        self._secret = secret
        self._stale_s = stale_s
        self._overlap_s = overlap_s
        self._admin_key = admin_key
        self._admin_digest = digest(admin_key.reveal(), secret) if admin_key else b""
        self._bootstrap_digest = digest(api_key.reveal(), secret) if api_key else b""
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Task[_Entry | None]] = {}
        self._heard = time.monotonic()
        self._changes = 0
        self._listeners: list[Callable[[str], None]] = []

    def digest(self, key: str) -> bytes:
        """What is stored of a key."""
        return digest(key, self._secret)

    def derived(self, purpose: str) -> str:
        """A new key that only this installation can make, and can make again for the same purpose."""
        source = self._secret.reveal() or self._admin_key.reveal()
        return PREFIX + base64.urlsafe_b64encode(
            hmac.digest(source.encode(), purpose.encode(), "sha256")
        ).decode().rstrip("=")

    @property
    def plans(self) -> Plans:
        """What plans grant."""
        return self._plans

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener(subject)` for each subject that changed, such as `key:ID`."""
        self._listeners.append(listener)

    async def caller(self, bearer: str) -> Caller:
        """Say who holds a key.

        Raises:
            Unauthenticated: missing, malformed, unknown, expired or revoked.
            Forbidden: its plan is not configured any more.
            Unavailable: neither memory nor the database can tell.
        """
        if not bearer:
            raise self._refusal("missing", "no API key: send the header 'Authorization: Bearer sk-lumni-...'")
        if len(bearer) > LONGEST:
            raise self._refusal("malformed", "this is no API key of ours")
        sought = digest(bearer, self._secret)
        if self._admin_digest and hmac.compare_digest(sought, self._admin_digest):
            return self._from_environment("admin", is_admin=True)
        if self._bootstrap_digest and hmac.compare_digest(sought, self._bootstrap_digest):
            return self._from_environment("bootstrap", is_admin=False)
        if not bearer.startswith(IMPORTED_PREFIX):
            raise self._refusal("malformed", "this is no API key of ours; they begin with sk-")
        entry = await self._entry(sought)
        if entry is None:
            raise self._refusal("unknown", "this API key is not known")
        return self._checked(entry)

    def as_if(self, caller: Caller, plan: str) -> Caller:
        """The caller as another plan would treat him, for what-if questions; an empty name changes nothing.

        Raises:
            Invalid: there is no such plan.
        """
        if not plan:
            return caller
        other = self._plans.by_name.get(plan)
        if other is None:
            known = ", ".join(sorted(self._plans.by_name))
            raise errors.Invalid(f"lumni.plan: there is no plan {plan!r}; known: {known}", param="lumni.plan")
        return replace(caller, plan=other, powerful_share=None)

    async def admin(self, bearer: str) -> Caller:
        """Say who holds an admin key.

        Raises:
            Unauthenticated: as `caller`.
            Forbidden: the key is good, but no admin's.
            Unavailable: as `caller`.
        """
        caller = await self.caller(bearer)
        if not caller.is_admin:
            raise errors.Forbidden("this needs the admin key", reason="ADMIN_ONLY")
        return caller

    def _from_environment(self, name: str, *, is_admin: bool) -> Caller:
        plan = self._plans.bootstrap
        return Caller(
            key_id=name,
            user_id=name,
            tenant=f"user:{name}",
            plan=plan,
            subjects=(Subject(f"key:{name}", plan.rate, plan.budget),),
            is_admin=is_admin,
        )

    def _checked(self, entry: _Entry) -> Caller:
        now = time.time()
        if entry.revoked or entry.row["revoked"]:
            raise self._refusal("revoked", "this API key was revoked")
        until = entry.row["valid_until"]
        if until is not None and until <= now:
            raise self._refusal("rotated", "this API key was replaced by a newer one")
        if entry.caller.expires_at is not None and entry.caller.expires_at <= now:
            raise self._refusal("expired", "this API key has expired")
        return entry.caller

    def _refusal(self, reason: str, message: str) -> errors.Unauthenticated:
        REFUSED.labels(reason).inc()
        return errors.Unauthenticated(message)

    async def _entry(self, sought: bytes) -> _Entry | None:
        now = time.monotonic()
        entry = self._known.get(sought)
        if entry is not None and not entry.stale:
            if now - self._heard <= self._stale_s:
                self._known.move_to_end(sought)
                return entry
        elif self._unknown.get(sought, 0.0) > now:
            return None
        try:
            return await self._lookup(sought)
        except postgres.ERRORS as error:
            # A change that could not be read yet may be a new limit; a revocation was said to be one.
            if entry is not None and now - self._heard <= self._stale_s:
                return entry
            raise errors.Unavailable(
                "keys cannot be checked at the moment", reason="KEY_STORE_UNAVAILABLE", retry_after_s=1
            ) from error

    async def _lookup(self, sought: bytes) -> _Entry | None:
        """Ask the database once for all who ask for the same key meanwhile."""
        task = self._lookups.get(sought)
        if task is None:
            task = asyncio.create_task(self._fetch(sought))
            self._lookups[sought] = task
            task.add_done_callback(lambda done: self._looked_up(sought, done))
        # A caller who leaves does not take the answer away from the others.
        return await asyncio.shield(task)

    def _looked_up(self, sought: bytes, task: asyncio.Task[_Entry | None]) -> None:
        del self._lookups[sought]
        if not task.cancelled():
            # Read it, for nobody else may be left to.
            task.exception()

    async def _fetch(self, sought: bytes) -> _Entry | None:
        before = self._changes
        async with postgres.connection(self._pool) as connection:
            row = await connection.fetchrow(QUERY, sought)
        if row is None or not hmac.compare_digest(row["digest"], sought):
            self._known.pop(sought, None)
            self._unknown[sought] = time.monotonic() + UNKNOWN_S
            if len(self._unknown) > UNKNOWN:
                self._unknown.popitem(last=False)
            return None
        # What changed while we read may have changed this.
        known = dict(row)
        entry = _Entry(known, self._read(known), stale=self._changes != before)
        self._known[sought] = entry
        self._known.move_to_end(sought)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return entry

    def _read(self, row: Mapping[str, Any]) -> Caller:
        plan = self._plans.by_name.get(row["plan"])
        if plan is None:
            raise errors.Forbidden(
                f"the plan {row['plan']!r} of this key is not configured any more", reason="PLAN_UNKNOWN"
            )
        user, organization = row["user_id"] or "", row["organization_id"] or ""
        rate = Rate(
            rpm=_or(row["rpm_limit"], plan.rate.rpm),
            tpm=_or(row["tpm_limit"], plan.rate.tpm),
            parallel=_or(row["parallel_limit"], plan.rate.parallel),
        )
        key = f"key:{row['key_id']}"
        subjects = [Subject(key, rate, _budget(row["budget_nano_usd"], row["budget_period"]) or plan.budget)]
        for scope, name in (("user", user), ("organization", organization)):
            if name:
                subjects.append(
                    Subject(
                        f"{scope}:{name}",
                        Rate(
                            row[f"{scope}_rpm"] or 0, row[f"{scope}_tpm"] or 0, row[f"{scope}_parallel"] or 0
                        ),
                        _budget(row[f"{scope}_budget"], row[f"{scope}_period"]),
                    )
                )
        return Caller(
            key_id=row["key_id"],
            plan=plan,
            user_id=user,
            organization_id=organization,
            tenant=subjects[-1].name,
            models=tuple(row["models"]),
            subjects=tuple(subjects),
            metadata=row["metadata"],
            powerful_share=row["powerful_share"],
            expires_at=row["expires_at"],
        )

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Hear of changed keys until the block ends."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _hear(self) -> None:
        self._heard = time.monotonic()
        CUT_OFF.set(0)

    async def _listen(self) -> None:
        """Read the stream of changes; nothing is missed while reconnecting, unlike with pub/sub."""
        last: Any = ""
        while True:
            try:
                if not last:
                    newest = await self._redis.xrevrange(redis_keys.KEY_CHANGES, count=1)
                    last = newest[0][0] if newest else "0-0"
                found = await self._redis.xread({redis_keys.KEY_CHANGES: last}, block=500, count=1000)
                self._hear()
                for entry_id, fields in _entries(found):
                    last = entry_id
                    self._changed(fields[b"subject"].decode(), revoked=fields[b"action"] == b"revoked")
            except Exception as error:  # noqa: BLE001  (whatever it is: who stops listening believes revoked keys)
                await self._not_heard(error, redis.ERRORS)

    async def _poll(self) -> None:
        """Read the table of changes; what was read before is known by its number."""
        seen: set[int] = set()
        since = time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                async with postgres.connection(self._pool) as connection:
                    rows = await connection.fetch(CHANGES, self._overlap_s + asked - since)
                if asked - since > CHANGES_KEPT_S - self._overlap_s:
                    for entry in self._known.values():
                        entry.stale = True
                since = asked
                self._hear()
                for row in rows:
                    if row["change_id"] not in seen:
                        self._changed(row["subject"], revoked=False)
                seen = {row["change_id"] for row in rows}
                await asyncio.sleep(POLL_S)
            except Exception as error:  # noqa: BLE001  (as above)
                await self._not_heard(error, (*postgres.ERRORS, asyncpg.UndefinedTableError))

    async def _not_heard(self, error: Exception, expected: tuple[type[Exception], ...]) -> None:
        if not isinstance(error, expected):
            log.error("changed keys were not heard of", exc_info=error)
        CUT_OFF.set(time.monotonic() - self._heard)
        await asyncio.sleep(POLL_S)

    def _changed(self, subject: str, *, revoked: bool) -> None:
        self._changes += 1
        self._unknown.clear()
        for entry in self._known.values():
            if any(one.name == subject for one in entry.caller.subjects):
                entry.stale = True
                entry.revoked = entry.revoked or revoked
        for listener in self._listeners:
            listener(subject)


def _entries(found: Any) -> Iterable[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream, in either shape that the client gives."""
    if not found:
        return ()
    streams = found.values() if isinstance(found, dict) else [entries for _, entries in found]
    return [
        entry
        for entries in streams
        for part in entries
        for entry in (part if isinstance(part, list) else [part])
    ]


def _or(own: int | None, plans: int) -> int:
    return plans if own is None else own


def _budget(limit: int | None, period: str | None) -> Budget | None:
    return None if limit is None else Budget(limit, Period(period or "month"))
