"""Admission and settlement: who may go on, with which candidates, and what it came to.

Everything that limits a request is checked and reserved in one atomic script, together or not at all, by Redis' clock.
A reservation is an upper bound of what the request can cost; a settlement replaces it by what each attempt did cost,
once, whoever says so first: this process or the ledger.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import prometheus_client

from services.chassis import errors, money, redis, redis_keys
from services.chassis.batching import Batcher
from services.gateway import postgres
from services.gateway.config.plans import AtLimit, Rate, WithoutRedis
from services.gateway.keys.authenticator import Caller
from services.gateway.limits import scripts

log = logging.getLogger(__name__)

# The grace of a request whose caller is gone, in seconds: its executor was told so, and stops at once.
ABANDONED_S = 10.0
# How often a Redis that failed is asked whether it is back, in seconds.
PAUSE_S = 0.5
# How long a settlement is tried before it is left to the ledger, in seconds.
PATIENCE_S = 300.0
# Requests that one round trip admits or settles; Redis does nothing else meanwhile.
BATCH = 100
REMEMBERED = 100_000
# Rates are per minute.
WINDOW_S = 60.0

REFUSALS = prometheus_client.Counter(
    "lumni_gateway_refusals", "Requests that a limit or a budget stopped.", ["scope", "reason", "where"]
)
LOCAL = prometheus_client.Counter(
    "lumni_gateway_local_admissions", "Requests admitted by policy while Redis could not count."
)
UNSETTLED = prometheus_client.Counter(
    "lumni_gateway_unsettled_requests", "Settlements that were left to the ledger."
)
REDIS_UP = prometheus_client.Gauge(
    "lumni_gateway_limiter_redis", "1 while limits are counted in Redis, else 0."
)


class Candidate(Protocol):
    """What admission needs to know of a candidate; `lumni.selector.v1.Candidate` fits."""

    @property
    def deployment(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def max_cost_nano_usd(self) -> int: ...  # noqa: D102


class Attempt(Protocol):
    """What a settlement needs to know of an attempt; `lumni.executor.v1.Attempt` fits."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def cost_nano_usd(self) -> int: ...  # noqa: D102


class Tokens(Protocol):
    """What a request consumed; `lumni.executor.v1.Usage` fits."""

    @property
    def prompt_tokens(self) -> int: ...  # noqa: D102
    @property
    def completion_tokens(self) -> int: ...  # noqa: D102


class Report(Protocol):
    """The bill of a request; `lumni.executor.v1.Report` fits."""

    @property
    def attempts(self) -> Sequence[Attempt]: ...  # noqa: D102
    @property
    def usage(self) -> Tokens: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to go on.

    Args:
        request_id: Whose.
        deployments: Candidates that may be tried, in order.
        headers: `x-ratelimit-*` and warnings, for the answer.
        output_cap: The most tokens of one answer that the reservation covers.
        admitted_unix_ms: When, by Redis' clock: what the request costs counts for that day, week and month.
            0 when Redis could not be asked, and nothing is reserved.
        reserved_nano_usd: What the request and all its attempts may cost; 0 without a budget.

    """

    request_id: str
    deployments: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    output_cap: int = 0
    admitted_unix_ms: int = 0
    reserved_nano_usd: int = 0


class _SpendUnknown(Exception):
    """Neither Redis nor PostgreSQL can tell what was spent."""


@dataclass(frozen=True, slots=True)
class _Settlement:
    """What Redis is yet to be told, and how long that is tried."""

    ask: Mapping[str, Any]
    give_up: float


class Limits:
    """All limits and budgets, counted in Redis; by policy without it."""

    def __init__(
        self,
        client: redis.Redis,
        pool: postgres.Pool,
        *,
        billable_attempts: int = 2,
        timeout_s: float = 600.0,
        grace_s: float = 60.0,
        window_s: float = WINDOW_S,
    ) -> None:
        """Count in `client`, and read from `pool` what was spent before Redis knew.

        Args:
            client: Short deadlines are its connection's business.
            pool: The ledger's sums.
            billable_attempts: How many attempts of one request may be billed in full.
            timeout_s: The longest a request lasts.
            grace_s: After that, its reservation may be called abandoned: events need time to arrive.
            window_s: The span that requests and tokens are counted in.
        """
        self._pool = pool
        self._billable = billable_attempts
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._window_s = window_s
        # One connection and one round trip for all that arrive meanwhile: a crowd never runs out of connections.
        self._admit: Batcher[dict[str, Any], dict[str, Any]] = Batcher(
            self._send, BATCH, lambda ask: self._leave(ask["request"])
        )
        self._redis = client
        self._down = False
        self._up = asyncio.Event()
        self._up.set()
        self._probe: asyncio.Task[None] | None = None
        self._refused: OrderedDict[str, tuple[float, int, Mapping[str, Any]]] = OrderedDict()
        self._local: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._unsettled: deque[_Settlement] = deque()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        REDIS_UP.set(1)

    @property
    def billable_attempts(self) -> int:
        """How many attempts of one request a reservation covers."""
        return self._billable

    @property
    def exact(self) -> bool:
        """Whether limits are counted in Redis at the moment."""
        return not self._down

    async def admit(
        self,
        caller: Caller,
        *,
        request_id: str,
        prompt_tokens: int,
        output_tokens: int,
        candidates: Sequence[Candidate],
        likely_prompt_tokens: int | None = None,
    ) -> Admission:
        """Check and reserve everything, together or not at all.

        Args:
            caller: Whose limits and budgets.
            request_id: The reservation's name.
            prompt_tokens: An upper bound of the prompt.
            output_tokens: The number of answers times the cap of one.
            candidates: In the order in which they would be tried, each with the most one attempt can cost.
            likely_prompt_tokens: What the prompt will probably take, for tokens per minute; else the bound.

        Raises:
            TooLarge: more tokens than the plan allows for one request.
            Exhausted: RATE_LIMIT_EXCEEDED or INSUFFICIENT_QUOTA, with `retry_after_s` where waiting helps.
            Unavailable: Redis cannot count, and the plan denies then.
        """
        plan = caller.plan
        likely = prompt_tokens if likely_prompt_tokens is None else likely_prompt_tokens
        tokens = likely + output_tokens
        if plan.max_request_tokens and tokens > plan.max_request_tokens:
            raise errors.TooLarge(
                f"the request may take {tokens:,} tokens (prompt and output limit); the plan {plan.name} allows "
                f"{plan.max_request_tokens:,}: shorten the prompt or lower max_completion_tokens",
                reason="CONTEXT_LENGTH_EXCEEDED",
                param="max_completion_tokens",
            )
        self._still_refused(caller, tokens)
        if self._down:
            return self._by_policy(caller, request_id, tokens, candidates)
        if not candidates:
            raise errors.Unavailable("there is no candidate to admit")
        try:
            answer = await self._ask(caller, request_id, tokens, candidates)
        except redis.ERRORS as error:
            self._lost(error)
            # It may have been reserved all the same, and only the answer be lost.
            self._leave(request_id)
            return self._by_policy(caller, request_id, tokens, candidates)
        except _SpendUnknown:
            # Redis forgot, and PostgreSQL cannot tell.
            return self._by_policy(caller, request_id, tokens, candidates)
        if refusal := answer.get("refusal"):
            if refusal["sure_ms"]:
                self._remember(caller, refusal, tokens)
            raise _refused(refusal, "redis")
        return Admission(
            request_id=request_id,
            deployments=tuple(candidates[index - 1].deployment for index in answer["admitted"]),
            headers=_headers(answer),
            output_cap=plan.max_output_tokens,
            admitted_unix_ms=answer["now"],
            reserved_nano_usd=int(answer["amount"]),
        )

    async def settle(self, admission: Admission, report: Report) -> None:
        """Replace a reservation by what the attempts cost; returns at once, and tells Redis behind the scenes.

        What Redis cannot be told in time is left to the ledger, which learns the same from the executor's events.
        """
        if not admission.admitted_unix_ms:
            return
        self._tell(
            admission.request_id,
            tokens=report.usage.prompt_tokens + report.usage.completion_tokens,
            attempts=[[one.id.rpartition("/")[2], one.cost_nano_usd, one.model] for one in report.attempts],
        )

    def abandon(self, admission: Admission) -> None:
        """Nobody waits for the answer any more, and what it cost is not known here; returns at once.

        The caller's place is free again. The money stays reserved until the ledger has heard how the attempts ended,
        or that there were none. After a settlement this changes nothing.
        """
        if admission.admitted_unix_ms:
            self._leave(admission.request_id)

    def _leave(self, request_id: str) -> None:
        self._tell(request_id, abandoned_ms=int(min(ABANDONED_S, self._grace_s) * 1000))

    def _tell(self, request_id: str, **facts: Any) -> None:
        ask = {"prefix": redis_keys.MONEY, "request": request_id, **facts}
        self._unsettled.append(_Settlement(ask, time.monotonic() + PATIENCE_S))
        self._settled.clear()
        self._wake.set()

    def forget(self, subject: str) -> None:
        """Ask anew about a subject whose limits changed, instead of remembering its refusals."""
        if subject.startswith("key:"):
            self._refused.pop(subject.removeprefix("key:"), None)
        else:
            self._refused.clear()

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Settle in the background until the block ends, then what is left within a second."""
        task = asyncio.create_task(self._deliver())
        try:
            yield
        finally:
            try:
                async with asyncio.timeout(1):
                    await self._settled.wait()
            except TimeoutError:
                UNSETTLED.inc(len(self._unsettled))
            tasks = [task, self._probe] if self._probe is not None else [task]
            for one in tasks:
                one.cancel()
            await asyncio.wait(tasks)

    # -- with Redis ----------------------------------------------------------------------------------------------

    async def _ask(
        self, caller: Caller, request_id: str, tokens: int, candidates: Sequence[Candidate]
    ) -> dict[str, Any]:
        ask = self._question(caller, request_id, tokens, candidates)
        answer = await self._admit(ask)
        if "unknown" in answer:
            try:
                ask["seeds"] = await self._seeds(answer["unknown"])
            except postgres.ERRORS as error:
                raise _SpendUnknown from error
            answer = await self._admit(ask)
        return answer

    async def _send(self, asks: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any] | Exception]:
        if self._down:
            # It failed while these were waiting for their turn.
            raise TimeoutError
        return [
            answer if isinstance(answer, Exception) else orjson.loads(answer)
            for answer in await scripts.run_all(scripts.ADMIT, self._redis, asks)
        ]

    def _question(
        self, caller: Caller, request_id: str, tokens: int, candidates: Sequence[Candidate]
    ) -> dict[str, Any]:
        rates = [_rated(one.name, one.rate) for one in caller.subjects if _limited(one.rate)]
        models: dict[str, int] = {}
        for name, rate in caller.plan.model_rates.items():
            if _limited(rate):
                rates.append(_rated(f"key:{caller.key_id}:model:{name}", rate, model=name))
                models[name] = len(rates)
        return {
            "prefix": redis_keys.MONEY,
            "request": request_id,
            "tokens": tokens,
            "rates": rates,
            "budgets": [
                {
                    "subject": one.name,
                    "period": one.budget.period,
                    "limit": one.budget.limit_nano_usd,
                    "soft": one.budget.soft,
                }
                for one in caller.subjects
                if one.budget is not None
            ],
            "candidates": [
                {"cost": one.max_cost_nano_usd * self._billable, "model": models.get(one.model, 0)}
                for one in candidates
            ],
            "free_at_limit": caller.plan.at_limit is AtLimit.FREE,
            "window_ms": int(self._window_s * 1000),
            "lasts_ms": int(self._timeout_s * 1000),
            "grace_ms": int(self._grace_s * 1000),
            "seeds": {},
        }

    async def _seeds(self, unknown: Sequence[Sequence[str]]) -> dict[str, list[int]]:
        """What the ledger says was spent, as [nano-USD, version], for each [subject, period]."""
        async with postgres.connection(self._pool) as connection:
            rows = await connection.fetch(
                "SELECT subject, period, spent_nano_usd, version FROM budget_spend "
                "WHERE (subject, period) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
                [subject for subject, _ in unknown],
                [period for _, period in unknown],
            )
        known = {f"{row['subject']}:{row['period']}": [row["spent_nano_usd"], row["version"]] for row in rows}
        return {f"{s}:{p}": known.get(f"{s}:{p}", [0, 0]) for s, p in unknown}

    async def _deliver(self) -> None:
        while True:
            await self._wake.wait()
            if not self._unsettled:
                self._wake.clear()
                self._settled.set()
                continue
            batch = [self._unsettled[i] for i in range(min(BATCH, len(self._unsettled)))]
            try:
                answers = await scripts.run_all(scripts.SETTLE, self._redis, [one.ask for one in batch])
            except redis.ERRORS as error:
                self._lost(error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_S):
                        await self._up.wait()
                now = time.monotonic()
                while self._unsettled and self._unsettled[0].give_up < now:
                    self._unsettled.popleft()
                    UNSETTLED.inc()
                continue
            except Exception as error:  # noqa: BLE001  (a mistake of ours must not end all settling)
                answers = [error] * len(batch)
            for answer in answers:
                self._unsettled.popleft()
                if isinstance(answer, Exception):
                    UNSETTLED.inc()
                    log.error("a settlement was left to the ledger: %s", answer)

    def _lost(self, error: BaseException) -> None:
        """Count here from now on; a probe asks when Redis is back, so that no caller waits for it."""
        if self._down:
            return
        self._down = True
        self._up.clear()
        REDIS_UP.set(0)
        log.warning("Redis cannot count, limits are local: %s", type(error).__name__)
        self._probe = asyncio.create_task(self._until_back())

    async def _until_back(self) -> None:
        while self._down:
            try:
                # At once, for it may have been this process that was slow; a write, for what only reads cannot count.
                await self._redis.set(f"{redis_keys.MONEY}:probe", 1, ex=60)
            except redis.ERRORS:
                await asyncio.sleep(PAUSE_S)
                continue
            self._down = False
            self._up.set()
            REDIS_UP.set(1)
            log.warning("limits are counted in Redis again")

    # -- refusals ------------------------------------------------------------------------------------------------

    def _still_refused(self, caller: Caller, tokens: int) -> None:
        """Refuse again what Redis refused for good until a reset, without asking.

        Raises:
            Exhausted: with the time that is left.
        """
        remembered = self._refused.get(caller.key_id)
        if remembered is None:
            return
        until, at_least, refusal = remembered
        left = until - time.monotonic()
        if left <= 0:
            del self._refused[caller.key_id]
        elif tokens >= at_least:
            raise _refused({**refusal, "retry_ms": left * 1000, "reset_ms": left * 1000}, "memory")

    def _remember(self, caller: Caller, refusal: Mapping[str, Any], tokens: int) -> None:
        at_least = tokens if refusal["kind"] == "tokens" else 0
        self._refused[caller.key_id] = (time.monotonic() + refusal["sure_ms"] / 1000, at_least, refusal)
        if len(self._refused) > REMEMBERED:
            self._refused.popitem(last=False)

    # -- without Redis -------------------------------------------------------------------------------------------

    def _by_policy(
        self, caller: Caller, request_id: str, tokens: int, candidates: Sequence[Candidate]
    ) -> Admission:
        """Count in this process alone, or refuse, as the plan says."""
        if caller.plan.redis_down is WithoutRedis.DENY:
            raise errors.Unavailable(
                "limits cannot be counted at the moment", reason="LIMITS_UNAVAILABLE", retry_after_s=1
            )
        now = time.monotonic()
        window, left = int(now // self._window_s), self._window_s - now % self._window_s
        counted: list[tuple[str, int, int]] = []
        for subject in caller.subjects:
            if not _limited(subject.rate):
                continue
            last, requests, used = self._local.get(subject.name, (window, 0, 0))
            if last != window:
                requests = used = 0
            for kind, limit, before, more in (
                ("requests", subject.rate.rpm, requests, 1),
                ("tokens", subject.rate.tpm, used, tokens),
            ):
                if limit and before + more > limit:
                    refusal = {
                        "subject": subject.name,
                        "kind": kind,
                        "limit": limit,
                        "retry_ms": left * 1000,
                        "reset_ms": left * 1000,
                        kind: {"limit": limit, "remaining": max(0, limit - before)},
                    }
                    raise _refused(refusal, "here")
            counted.append((subject.name, requests + 1, used + tokens))
        for name, requests, used in counted:
            self._local[name] = (window, requests, used)
            self._local.move_to_end(name)
        while len(self._local) > REMEMBERED:
            self._local.popitem(last=False)
        LOCAL.inc()
        return Admission(
            request_id=request_id,
            deployments=tuple(one.deployment for one in candidates),
            headers={"x-lumni-limits": "local"},
            output_cap=caller.plan.max_output_tokens,
        )


def _limited(rate: Rate) -> bool:
    return bool(rate.rpm or rate.tpm or rate.parallel)


def _rated(subject: str, rate: Rate, model: str = "") -> dict[str, Any]:
    return {"subject": subject, "rpm": rate.rpm, "tpm": rate.tpm, "parallel": rate.parallel, "model": model}


def _refused(refusal: Mapping[str, Any], where: str) -> errors.Exhausted:
    """The fault for a refusal, with the headers of an admission in its metadata."""
    scope, _, name = refusal["subject"].partition(":")
    kind, retry_s = refusal["kind"], refusal["retry_ms"] / 1000
    if kind == "budget":
        reason, shown = "INSUFFICIENT_QUOTA", "insufficient_quota"
        if refusal["in_flight"]:
            held = money.usd(refusal["held"])
            hint = f", and {held:.9f} are held by requests under way; try again when they are over"
        else:
            hint = f"; it is whole again in {retry_s:,.0f} s" if retry_s else ""
        message = (
            f"the {refusal['period']} budget of {scope} {name} does not cover this request: "
            f"{money.usd(refusal['left']):.9f} USD are left of {money.usd(refusal['limit']):.9f}{hint}"
        )
    else:
        reason, shown = "RATE_LIMIT_EXCEEDED", "tokens" if kind == "tokens" else "requests"
        unit = "parallel requests" if kind == "parallel" else f"{kind} per minute"
        message = f"{scope} {name} may make {refusal['limit']:,} {unit}; try again in {retry_s:.1f} s"
    REFUSALS.labels(scope, reason, where).inc()
    return errors.Exhausted(
        message,
        reason=reason,
        retry_after_s=retry_s or None,
        metadata={"type": shown, "limit": kind, "scope": scope, **_headers(refusal)},
    )


def _headers(answer: Mapping[str, Any]) -> dict[str, str]:
    """OpenAI's rate limit headers of the tightest subject, and a warning when a budget runs low."""
    shown: dict[str, str] = {}
    for kind in ("requests", "tokens"):
        tightest = answer.get(kind)
        if tightest:
            shown[f"x-ratelimit-limit-{kind}"] = str(tightest["limit"])
            shown[f"x-ratelimit-remaining-{kind}"] = str(tightest["remaining"])
            shown[f"x-ratelimit-reset-{kind}"] = f"{answer['reset_ms'] / 1000:g}s"
    warnings: Iterable[Mapping[str, Any]] = answer.get("warnings") or ()
    texts = [
        f"{one['subject'].partition(':')[0]} {one['period']} {one['used'] * 100:.0f}%" for one in warnings
    ]
    if texts:
        shown["x-lumni-budget-warning"] = ", ".join(texts)
    return shown
