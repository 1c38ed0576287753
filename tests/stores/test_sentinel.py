"""Money is exact though the primary dies that sentinels watch: they promote its replica, and everyone finds it."""

from pathlib import Path

import pytest

from services.chassis import redis
from services.gateway import postgres
from tests.stores import sentinels
from tests.stores.conftest import TIMEOUT_S
from tests.stores.money import exact_through

pytestmark = pytest.mark.timeout(600)


async def test_a_primary_that_dies_under_load_costs_nobody_a_nano_dollar(
    servers_folder: Path, pool: postgres.Pool, tmp_path: Path
) -> None:
    async with (
        sentinels.running(servers_folder / "sentinel") as watched,
        redis.connect(watched.url_of("gateway"), timeout_s=TIMEOUT_S) as client,
    ):
        await exact_through(watched.fail_over, watched, client, pool, tmp_path, streams=1)
