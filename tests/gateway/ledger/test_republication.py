"""A Redis that restarts without its last moment is told again what the ledger published."""

from pathlib import Path

from services.chassis import redis, redis_keys
from services.gateway import postgres
from services.gateway.limits.admission import Limits
from services.local.server import started
from services.local.valkey import Valkey
from tests.gateway.conftest import eventually
from tests.gateway.ledgers import Ledger
from tests.gateway.money import FINAL, TOTAL, admit, bill, caller, event, spent


async def test_a_publication_that_redis_lost_counts_no_attempt_twice(
    servers_folder: Path, pool: postgres.Pool
) -> None:
    folder = servers_folder / "republication"
    async with (
        started(Valkey(folder, settings={"appendonly": "no"})) as server,
        redis.connect(server.url, timeout_s=10) as client,
        (limits := Limits(client, pool, billable_attempts=1)).delivering(),
    ):
        ledger = Ledger(pool, client)
        await ledger.writer.publish_again()
        admission = await admit(limits, caller(budget=TOTAL))
        limits.settle(admission, bill(admission, 400))

        async def settled() -> bool:
            return 400 == await spent(client, "key:k1")

        await eventually(settled)
        # What is on its disk when it dies: the settlement, and not what the ledger publishes.
        await client.save()
        ended = event(FINAL, request=admission.request_id, cost=400).SerializeToString()
        await ledger.writer.usage(redis_keys.USAGE_STREAM, [("1-1", ended)])
        assert 400 == await spent(client, "key:k1")
        server.kill()
        await server.start()
        # Another attempt brings the sum, which has the first one in it.
        other = event(FINAL, request="r2", cost=100).SerializeToString()
        await ledger.writer.usage(redis_keys.USAGE_STREAM, [("1-2", other)])
        assert 900 == await spent(client, "key:k1")

        await ledger.writer.publish_again()

        assert 500 == await spent(client, "key:k1")
