"""Admission: which requests may go on, and with which candidates.

Everything that limits a request is checked and reserved in one atomic script, together or not at all, by Redis' clock.
A reservation is an upper bound of what the request can cost; a settlement replaces it by what each attempt did cost,
once, by whichever comes first: this process or the ledger.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
import prometheus_client

from services.chassis import errors, redis, redis_keys
from services.chassis.batching import Batcher
from services.gateway import postgres
from services.gateway.config.plans import WithoutRedis
from services.gateway.keys.permissions import Caller
from services.gateway.limits import admit_arguments, headers, ledger_spending, scripts
from services.gateway.limits.admit_arguments import NO_CALL, Bounds, Candidate
from services.gateway.limits.local import LocalCounts
from services.gateway.limits.partitions import Partitions
from services.gateway.limits.probe import Probe
from services.gateway.limits.refusal import Refusal, RefusalMemory
from services.gateway.limits.scripts import Count
from services.gateway.limits.settlement import Report, Settlements

# Requests that one round trip admits; Redis does nothing else meanwhile.
BATCH = 100
# Rates are per minute.
WINDOW_S = 60.0

LOCAL = prometheus_client.Counter(
    "lumni_gateway_local_admissions", "Requests admitted by policy while Redis could not count."
)


# The partition of a caller, and what admit.lua is given.
_Asked: TypeAlias = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Admission:
    """Permission to go on.

    Args:
        request_id: Of which request.
        deployments: Candidates that may be tried, in order.
        headers: `x-ratelimit-*` and warnings, for the answer.
        output_cap: The most tokens of one answer that the reservation covers.
        admitted_unix_ms: When, by Redis' clock: what the request costs counts for that day, week and month.
            0 when Redis could not count, and nothing is reserved.
        part: The partition that the reservation is in.
        reserved_nano_usd: What the request and all its attempts may cost; 0 without a budget.

    """

    request_id: str
    deployments: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    output_cap: int = 0
    admitted_unix_ms: int = 0
    part: str = ""
    reserved_nano_usd: int = 0


class Limits:
    """All limits and budgets: a request is admitted, then settled or abandoned."""

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
        self._redis = client
        self._pool = pool
        self._bounds = Bounds(billable_attempts, timeout_s, grace_s, window_s)
        self._partitions = Partitions(client)
        self._probe = Probe(client)
        self._settlements = Settlements(client, self._probe, grace_s)
        self._refusals = RefusalMemory()
        self._local = LocalCounts(window_s)
        # One connection and one round trip for all that arrive meanwhile: a crowd never runs out of connections.
        self._admit: Batcher[_Asked, dict[str, Any]] = Batcher(
            self._send, BATCH, lambda asked: self._settlements.abandon(asked[0], asked[1]["request"])
        )

    @property
    def billable_attempts(self) -> int:
        """How many attempts of one request a reservation covers."""
        return self._bounds.billable_attempts

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
        tokens = output_tokens + (prompt_tokens if likely_prompt_tokens is None else likely_prompt_tokens)
        if plan.max_request_tokens and tokens > plan.max_request_tokens:
            raise errors.TooLarge(
                f"the request may take {tokens:,} tokens (prompt and output limit); the plan {plan.name} allows "
                f"{plan.max_request_tokens:,}: shorten the prompt or lower max_completion_tokens",
                reason="CONTEXT_LENGTH_EXCEEDED",
                param="max_completion_tokens",
            )
        if not candidates:
            raise errors.Unavailable("there is no candidate to admit")
        return await self._ask(
            caller,
            tokens,
            candidates,
            admit_arguments.admission(caller, request_id, tokens, candidates, self._bounds),
        )

    def count(self, caller: Caller, request_id: str) -> Count | None:
        """What counts a request that calls no model and is over at once, for whoever asks Redis for more meanwhile.

        None where it is to be counted by itself: in a cluster the counters lie with their partition, and what Redis did
        not count, or is sure to refuse, needs none of it.
        """
        if (
            len(self._partitions.names) > 1
            or self._probe.down(self._part(caller))
            or self._refusals.recall(caller.key_id, 0)
        ):
            return None
        argument = self._count(caller, request_id)
        return Count(redis_keys.reservations(self._part(caller)), orjson.dumps(argument))

    async def counted(self, caller: Caller, request_id: str, answer: bytes = b"") -> Admission:
        """The same counted: `answer` is what Redis said of its `Count`, if it was asked so.

        It has no tokens, reserves nothing, and there is nothing to settle.

        Raises:
            Fault: as `admit`.
        """
        if answer:
            return self._read(caller, request_id, 0, (NO_CALL,), orjson.loads(answer))
        return await self._ask(caller, 0, (NO_CALL,), self._count(caller, request_id))

    def _count(self, caller: Caller, request_id: str) -> dict[str, Any]:
        return admit_arguments.admission(caller, request_id, 0, (NO_CALL,), self._bounds, under_way=False)

    def _part(self, caller: Caller) -> str:
        return self._partitions.of(caller.key_id, caller.user_id, caller.organization_id)

    async def _ask(
        self, caller: Caller, tokens: int, candidates: Sequence[Candidate], argument: dict[str, Any]
    ) -> Admission:
        """Ask Redis, unless it is known what it says or that it does not answer."""
        request_id, part = argument["request"], self._part(caller)
        if refusal := self._refusals.recall(caller.key_id, tokens):
            raise refusal.fault("memory")
        if self._probe.down(part):
            return self._without_redis(caller, request_id, tokens, candidates)
        try:
            answer = await self._decide(part, argument)
        except redis.ERRORS as error:
            self._probe.failed(part, error)
            # It may have been reserved all the same, and only the answer be lost.
            if argument["under_way"]:
                self._settlements.abandon(part, request_id)
            return self._without_redis(caller, request_id, tokens, candidates)
        except _SpendUnknownError:
            return self._without_redis(caller, request_id, tokens, candidates)
        return self._read(caller, request_id, tokens, candidates, answer)

    def _read(
        self,
        caller: Caller,
        request_id: str,
        tokens: int,
        candidates: Sequence[Candidate],
        answer: Mapping[str, Any],
    ) -> Admission:
        """The permission that admit.lua gives, or its refusal."""
        if "refusal" in answer:
            refusal = Refusal(**answer["refusal"])
            self._refusals.remember(caller.key_id, refusal, tokens)
            raise refusal.fault("redis")
        return Admission(
            request_id=request_id,
            deployments=tuple(candidates[position - 1].deployment for position in answer["admitted"]),
            headers={
                **headers.rate_limits(answer.get("requests"), answer.get("tokens"), answer["reset_ms"]),
                **headers.budget_warning(answer.get("warnings") or ()),
            },
            output_cap=caller.plan.max_output_tokens,
            admitted_unix_ms=answer["now"],
            part=self._part(caller),
            reserved_nano_usd=int(answer["amount"]),
        )

    def refusal(self, caller: Caller) -> errors.Exhausted | None:
        """The refusal that any request of a caller is sure to meet, counted; None if none is known."""
        refusal = self._refusals.recall(caller.key_id, 0)
        return refusal.fault("memory") if refusal else None

    def settle(self, admission: Admission, report: Report) -> None:
        """Replace a reservation by what the attempts cost; returns at once, Redis learns it in the background."""
        if admission.admitted_unix_ms:
            self._settlements.settle(admission.part, admission.request_id, report)

    def abandon(self, admission: Admission) -> None:
        """Give up an answer whose caller is gone, or whose cost is not known here; returns at once.

        The caller's slot is free again. The money stays reserved until the ledger has read how the attempts ended, or
        that there were none. After a settlement this changes nothing.
        """
        if admission.admitted_unix_ms:
            self._settlements.abandon(admission.part, admission.request_id)

    def forget_all(self) -> None:
        """The same for all subjects."""
        self._refusals.forget_all()

    def forget(self, subject: str) -> None:
        """Check a subject whose limits changed anew, instead of repeating its refusals."""
        self._refusals.forget(subject)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Settle in the background until the block ends, then what is left within a second."""
        try:
            async with self._settlements.delivering():
                yield
        finally:
            await self._probe.close()

    async def _decide(self, part: str, argument: dict[str, Any]) -> dict[str, Any]:
        answer = await self._admit((part, argument))
        if "unknown" in answer:
            try:
                argument["seeds"] = await ledger_spending.read(self._pool, answer["unknown"])
            except postgres.ERRORS as error:
                raise _SpendUnknownError from error
            answer = await self._admit((part, argument))
        return answer

    async def _send(self, batch: Sequence[_Asked]) -> Sequence[dict[str, Any] | Exception]:
        # What failed while these were queued is not asked again.
        places = [place for place, (part, _) in enumerate(batch) if not self._probe.down(part)]
        answers: list[dict[str, Any] | Exception] = [TimeoutError() for _ in batch]
        if places:
            found = await scripts.run_all(scripts.ADMIT, self._redis, [batch[place] for place in places])
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer if isinstance(answer, Exception) else orjson.loads(answer)
        return answers

    def _without_redis(
        self, caller: Caller, request_id: str, tokens: int, candidates: Sequence[Candidate]
    ) -> Admission:
        """Count in this process alone, or refuse, as the plan says."""
        if caller.plan.redis_down is WithoutRedis.DENY:
            raise errors.Unavailable(
                "limits cannot be counted at the moment", reason="LIMITS_UNAVAILABLE", retry_after_s=1
            )
        if refusal := self._local.count(caller.subjects, tokens):
            raise refusal.fault("here")
        LOCAL.inc()
        return Admission(
            request_id=request_id,
            deployments=tuple(one.deployment for one in candidates),
            headers={"x-lumni-limits": "local"},
            output_cap=caller.plan.max_output_tokens,
        )


class _SpendUnknownError(Exception):
    """Redis has forgotten what was spent, and PostgreSQL does not answer."""
