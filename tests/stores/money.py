"""Requests of many organizations from admission to the ledger, and whether every sum is right afterwards."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lumni.chat.v1 import chat_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import redis, redis_keys, stream_partitions
from services.chassis.operations import Operation
from services.executor.attempts import messages
from services.executor.attempts.model import Attempt, AttemptState, Work
from services.executor.events.outbox import Outbox
from services.gateway import postgres
from services.gateway.config.budgets import Budget, Period
from services.gateway.keys.permissions import Caller, Subject
from services.gateway.limits.admission import Admission, Limits
from services.gateway.limits.partitions import Partitions
from services.gateway.requests.request_ids import request_id
from tests.executor.fleet import deployment
from tests.gateway.conftest import eventually, running
from tests.gateway.ledgers import Ledger, written
from tests.gateway.money import Bill, Made, Offer, Used, caller

ORGANIZATIONS = 12
COST = 700


class Servers(Protocol):
    """Several servers of Redis with one address for each service."""

    def url_of(self, service: str) -> str:
        """The address for a service, with the user that it is there."""
        ...


def member(organization: str, limit_nano_usd: int) -> Caller:
    """The holder of a key of an organization, which has a budget."""
    who = caller(
        f"k-{organization}",
        others=[Subject(f"organization:{organization}", budget=Budget(limit_nano_usd, Period.TOTAL))],
    )
    return replace(who, organization_id=organization)


@asynccontextmanager
async def gateways(servers: Servers, pool: postgres.Pool, timeout_s: float) -> AsyncIterator[list[Limits]]:
    """Two gateways' limits, as the user that a gateway is."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            client = await stack.enter_async_context(
                redis.connect(servers.url_of("gateway"), timeout_s=timeout_s)
            )
            one = Limits(client, pool, billable_attempts=1)
            await stack.enter_async_context(one.delivering())
            made.append(one)
        yield made


async def spent(client: redis.Redis, organization: str) -> int:
    """What Redis counts as spent by an organization."""
    part = Partitions(client).of("", "", organization)
    key = redis_keys.spent(f"organization:{organization}", "total", part)
    ledger, pending = await client.hmget(key, ["ledger", "pending"])
    return int(ledger or 0) + int(pending or 0)


@dataclass
class Executor:
    """What an executor says of its attempts."""

    outbox: Outbox

    async def call(self, who: Caller, admission: Admission, cost: int) -> Bill:
        """Make one attempt, which costs so much."""
        context = chat_pb2.RequestContext(
            request_id=admission.request_id,
            tenant=who.tenant,
            key_id=who.key_id,
            organization_id=who.organization_id,
            plan="test",
            admitted_unix_ms=admission.admitted_unix_ms,
        )
        work = Work(
            request_id=admission.request_id,
            operation=Operation.CHAT,
            body={},
            stream=False,
            candidates=(),
            deadline=0,
            origin=messages.Origin(pb.ExecuteRequest(context=context)),
        )
        attempt = Attempt(
            id=f"{admission.request_id}/1",
            deployment=deployment("http://x"),
            max_cost_nano_usd=1000,
            started_unix_us=1_790_000_000_000_000,
        )
        await self.outbox.started(work, attempt)
        self.outbox.ended(work, replace(attempt, state=AttemptState.FINAL, cost_nano_usd=cost))
        return Bill([Made(attempt.id, cost)], Used(10, 0))


@asynccontextmanager
async def executors(servers: Servers, folder: Path, streams: int) -> AsyncIterator[Sequence[Executor]]:
    """An executor for each partition of the stream of usage, as the user that an executor is."""
    async with AsyncExitStack() as stack:
        made = []
        for number, stream in enumerate(stream_partitions.all_of(redis_keys.USAGE_STREAM, streams)):
            client = await stack.enter_async_context(redis.connect(servers.url_of("executor"), timeout_s=1))
            outbox = Outbox(client, folder / str(number), stream)
            await stack.enter_async_context(running(outbox.run()))
            made.append(Executor(outbox))
        yield made


async def exact_through(
    fail_over: Callable[[], Awaitable[None]],
    servers: Servers,
    client: redis.Redis,
    pool: postgres.Pool,
    folder: Path,
    *,
    streams: int,
) -> None:
    """Ask under load while a primary is lost, and compare all sums with what the attempts cost.

    Args:
        fail_over: Takes a primary away, and returns once all servers take part again.
        servers: Where the services find Redis.
        client: Reads what is counted there.
        pool: A fresh database.
        folder: For what executors keep meanwhile.
        streams: Partitions of the stream of usage, each with an executor of its own.
    """
    names = [f"org-{number}" for number in range(ORGANIZATIONS)]
    costs: Counter[str] = Counter()
    local = 0
    asked = 0
    over = asyncio.Event()

    async def request(limits: Limits, executor: Executor, organization: str, cost: int) -> None:
        nonlocal local
        who = member(organization, 10**12)
        admission = await limits.admit(
            who, request_id=request_id(), prompt_tokens=10, output_tokens=0, candidates=[Offer()]
        )
        local += not admission.admitted_unix_ms
        report = await executor.call(who, admission, cost)
        costs[organization] += cost
        limits.settle(admission, report)

    async with AsyncExitStack() as stack:
        ledger_client = await stack.enter_async_context(redis.connect(servers.url_of("ledger"), timeout_s=3))
        await stack.enter_async_context(Ledger(pool, ledger_client, partitions=streams).open())
        both = await stack.enter_async_context(gateways(servers, pool, 1))
        each = await stack.enter_async_context(executors(servers, folder, streams))

        async def drive() -> None:
            nonlocal asked
            while not over.is_set():
                asked += 1
                await request(
                    both[asked % 2], each[asked % streams], names[asked % ORGANIZATIONS], COST + asked
                )
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(drive())

            async def so_many() -> bool:
                return asked >= 60

            await eventually(so_many)
            await fail_over()
            over.set()

        # Every sum is published once more, by an event after the failover.
        for number, name in enumerate(names):
            await request(both[0], each[number % streams], name, 1)
        await written(pool, asked + ORGANIZATIONS)
        rows = await pool.fetch(
            "SELECT organization_id, sum(cost_nano_usd)::bigint AS cost FROM usage_records GROUP BY 1"
        )
        assert costs == {row["organization_id"]: row["cost"] for row in rows}
        budgets = await pool.fetch(
            "SELECT subject, spent_nano_usd AS cost FROM budget_spend "
            "WHERE period = 'total' AND subject LIKE 'organization:%'"
        )
        assert costs == {row["subject"].partition(":")[2]: row["cost"] for row in budgets}

        async def published() -> bool:
            return {name: await spent(client, name) for name in names} == costs

        await eventually(published)
    assert 0 < local < asked
