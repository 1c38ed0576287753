"""The periods of budgets, as the scripts name them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import redis, redis_keys
from services.gateway.config.budgets import Budget, Period, token
from services.gateway.limits import scripts
from services.gateway.limits.admission import Limits
from services.local.valkey import Valkey
from tests.gateway.money import (
    admit,
    caller,
)


@pytest.mark.parametrize("period", list(Period))
async def test_redis_names_the_periods_as_python_does(
    limits: Limits, client: redis.Redis, period: Period
) -> None:
    admission = await admit(limits, caller(budget=Budget(1000, period)))

    now = datetime.fromtimestamp(admission.admitted_unix_ms / 1000, UTC)
    assert 1 == await client.exists(redis_keys.spent("key:k1", token(period, now)))


CALENDAR = (
    Path(scripts.__file__).with_name("calendar.lua").read_text()
    + """
local names = {}
for i, kind in ipairs({'day', 'week', 'month'}) do names[i] = period(kind, tonumber(ARGV[1])) end
return names
"""
)


@given(moment=st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 12, 31)))
async def test_the_script_knows_the_calendar(moment: datetime, valkey_server: Valkey) -> None:
    when = moment.replace(tzinfo=UTC)
    async with redis.connect(valkey_server.url, timeout_s=5) as client:
        found = await client.eval(CALENDAR, 0, str(int(when.timestamp() * 1000)))

    assert [token(p, when) for p in (Period.DAY, Period.WEEK, Period.MONTH)] == [
        one.decode() for one in found
    ]
