"""What a round of housekeeping gets done."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.chassis import redis
from services.gateway import postgres
from tests.gateway.conftest import eventually
from tests.gateway.ledgers import Ledger

INSERT = """
INSERT INTO request_texts (request_id, user_id, sealed, asked_at, expires_at)
SELECT 'r' || number, 'ann', ''::bytea, $1::timestamptz, $1::timestamptz FROM generate_series(1, 2500) AS number
"""


async def test_a_round_deletes_more_than_a_batch_of_what_has_expired(
    pool: postgres.Pool, client: redis.Redis
) -> None:
    await pool.execute(INSERT, datetime.now(UTC) - timedelta(days=1))
    ledger = Ledger(pool, client)
    # No second round comes within this test.
    housekeeping: Any = ledger.housekeeping
    housekeeping._pause_s = 3600.0

    async with ledger.open():

        async def empty() -> bool:
            return not await pool.fetchval("SELECT count(*) FROM request_texts")

        await eventually(empty)
