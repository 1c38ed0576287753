"""A short search for a malformed body that is not refused by its field, soon and for nothing; `make fuzz` has the long one."""

import asyncio

import pytest

from tests.flow.stack import ADMIN_KEY, Stack
from tests.fuzz.malformed import ROUTES, Malformed

pytestmark = pytest.mark.asyncio(loop_scope="session")
# Of each route.
BODIES = 12


async def test_malformed_bodies_are_refused_by_their_field_and_cost_nothing(stack: Stack) -> None:
    malformed = Malformed(stack.rest, ADMIN_KEY)
    try:
        for path in ROUTES:
            await asyncio.to_thread(malformed.search, path, BODIES, number=7)
        refused = {path for path, code in malformed.codes if code >= 400}

        assert set(ROUTES) == refused
        assert [] == await malformed.billed(stack.database)
    finally:
        malformed.close()
