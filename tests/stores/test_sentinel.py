"""Limits go on at the server that the sentinels promote."""

from pathlib import Path

import pytest

from services.chassis import redis
from services.gateway import postgres
from services.gateway.config.plans import Rate
from services.gateway.limits.admission import Limits
from tests.gateway.conftest import eventually
from tests.gateway.money import TOTAL, admit, bill, caller, held, spent
from tests.stores import sentinels

pytestmark = pytest.mark.timeout(600)


async def test_limits_go_on_at_the_promoted_server(servers_folder: Path, pool: postgres.Pool) -> None:
    who = caller(rate=Rate(rpm=1_000_000), budget=TOTAL)
    async with (
        sentinels.running(servers_folder / "sentinel") as watched,
        redis.connect(watched.url_of("gateway"), timeout_s=1) as client,
        (limits := Limits(client, pool, billable_attempts=1)).delivering(),
    ):
        admission = await admit(limits, who)
        assert admission.admitted_unix_ms
        async with redis.connect(watched.servers[0].url, timeout_s=5) as operator:
            assert 1 == await operator.wait(1, 10_000)
        watched.servers[0].kill()
        limits.settle(admission, bill(admission, 400))

        async def settled() -> bool:
            try:
                return 400 == await spent(client, "key:k1") and 0 == await held(client, "key:k1")
            except redis.ERRORS:
                return False

        await eventually(settled)

        async def counted() -> bool:
            return (await admit(limits, caller(rate=Rate(rpm=1_000_000)))).admitted_unix_ms > 0

        await eventually(counted)
