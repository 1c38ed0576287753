"""The experiments that are under way, read from PostgreSQL every second; while that is gone they stay as they were."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import prometheus_client

from services.chassis.background import beside
from services.chassis.errors import Invalid
from services.chassis.outage import Outage
from services.gateway import postgres
from services.gateway.experiments import assignment, definition
from services.gateway.experiments.assignment import Running
from services.gateway.keys.permissions import Caller
from services.gateway.prompts.reference import PRODUCTION, Reference
from services.gateway.requests.assignment import Assignment
from services.gateway.requests.model_request import ModelRequest

log = logging.getLogger(__name__)

# How long a change takes at most to count for requests, in seconds.
POLL_S = 1.0
SHARE = prometheus_client.Gauge(
    "lumni_gateway_rollout_share_percent",
    "The share of a rollout's variant, by the experiment; 0 once that is over.",
    ["experiment"],
    multiprocess_mode="livemax",
)
READ = """
SELECT experiment_id, name, salt, definition, prompt_id, stopped, promoted, rollout FROM experiments
WHERE state IN ('running', 'promoted')
ORDER BY started_at, experiment_id
"""


class LiveExperiments:
    """Assigns requests to variants."""

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool
        self._live: Sequence[Running] = ()
        # The ids of those that cannot be read, so that each is logged once.
        self._unread: set[str] = set()
        # The rollouts that the metric has named since the start.
        self._shown: set[str] = set()

    def of_request(self, caller: Caller, request: ModelRequest) -> ModelRequest:
        """The request as its variant has it; as it is where it takes part in none."""
        return assignment.of_request(self._live, caller, request) if self._live else request

    def of_prompt(
        self, caller: Caller, wanted: Reference, body: Mapping[str, Any]
    ) -> tuple[Assignment, Reference] | None:
        """The variant of a request for a stored prompt, and the version that it gets; None where it names one.

        Args:
            caller: Who asks.
            wanted: The id of the prompt, and the version that the request asks for.
            body: The request beside it, unchecked, with the variables.
        """
        if not self._live or wanted.which != PRODUCTION:
            return None
        found = assignment.of_prompt(self._live, caller, wanted.prompt, body)
        return None if found is None else (found[0], Reference(wanted.prompt, found[1]))

    async def read(self) -> None:
        """Read them once.

        Raises:
            postgres.ERRORS: PostgreSQL does not answer.
        """
        async with postgres.connection(self._pool) as connection:
            rows = await connection.fetch(READ)
        unread: set[str] = set()
        live = []
        for row in rows:
            try:
                described = definition.parse(row["definition"])
            except Invalid as error:
                # Another version of Lumni made it.
                unread.add(row["experiment_id"])
                if row["experiment_id"] not in self._unread:
                    log.warning("no request takes part in the experiment %s: %s", row["name"], error.message)
                continue
            live.append(
                Running(
                    row["experiment_id"],
                    row["salt"],
                    described,
                    row["prompt_id"],
                    frozenset(row["stopped"]),
                    row["promoted"],
                    row["rollout"]["share"] if row["rollout"] else None,
                )
            )
        self._live, self._unread = live, unread
        self._show_shares()

    def _show_shares(self) -> None:
        """Show the shares of this moment: 0 for a rollout that is over, as workers cannot take a series back."""
        shares = {one.definition.name: one.share for one in self._live if one.share is not None}
        for name in self._shown | shares.keys():
            SHARE.labels(name).set(shares.get(name, 0))
        self._shown |= shares.keys()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keep up with them until the block ends; it begins after the first try to read them."""
        outage = Outage(log, "experiments cannot be read", "experiments are read again", pause_s=POLL_S)
        await self._try(outage)
        async with beside(self._follow(outage)):
            yield

    async def _follow(self, outage: Outage) -> None:
        while True:
            await (outage.pause() if outage.active else asyncio.sleep(POLL_S))
            await self._try(outage)

    async def _try(self, outage: Outage) -> None:
        try:
            await self.read()
            outage.end()
        except postgres.FAILURES as error:
            outage.begin(error)
