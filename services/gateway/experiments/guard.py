"""Stops variants by the guardrails of their experiments, and moves rollouts; a ledger process runs it."""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.chassis import errors
from services.chassis.outage import Outage
from services.gateway import postgres
from services.gateway.experiments import conclusion, definition, results, rollout, statistics
from services.gateway.experiments.conclusion import ERRORS
from services.gateway.experiments.definition import Definition
from services.gateway.experiments.rollout import Rollout
from services.gateway.experiments.store import ExperimentStore

log = logging.getLogger(__name__)

# Who stops a variant, in the audit trail.
ACTOR = "guardrail"
# Seconds between two rounds; or so many times what a round took, so that long experiments do not keep PostgreSQL busy.
PAUSE_S = 5.0
REST = 10.0
MOST = 1000
FAILURES = (errors.Fault, *postgres.FAILURES)


class Guard:
    """Looks at every running experiment again and again, which the intervals permit.

    Args:
        pool: Where the ledger is.
        store: Where experiments are.
        pause_s: Between two rounds, in seconds.

    """

    def __init__(self, pool: postgres.Pool, store: ExperimentStore, *, pause_s: float = PAUSE_S) -> None:
        self._pool = pool
        self._store = store
        self._pause_s = pause_s
        # By the name of an experiment, so that what goes wrong with it round after round is logged once.
        self._outages: dict[str, Outage] = {}

    async def run(self) -> None:
        """Watch until cancelled; what fails is tried again in the next round."""
        outage = Outage(log, "running experiments cannot be read", "running experiments are read again")
        while True:
            began = time.monotonic()
            try:
                await self.check()
                outage.end()
            except FAILURES as error:
                outage.begin(error)
            await asyncio.sleep(max(self._pause_s, REST * (time.monotonic() - began)))

    async def check(self) -> None:
        """Stop what must be stopped now; an experiment that cannot be checked leaves the others theirs.

        Raises:
            Fault, postgres.FAILURES: PostgreSQL does not say which experiments are running.
        """
        rows = await self._store.find(after="", limit=MOST, state="running")
        for row in rows:
            outage = self._outage(row["name"])
            try:
                await self._check(row)
                outage.end()
            except FAILURES as error:
                # Its sums took too long, another version of Lumni made it, or an admin has just stopped it.
                outage.begin(error)
        running = {row["name"] for row in rows}
        self._outages = {name: one for name, one in self._outages.items() if name in running}

    def _outage(self, name: str) -> Outage:
        return self._outages.setdefault(
            name,
            Outage(
                log,
                f"experiment {name}: guardrails cannot be checked",
                f"experiment {name}: guardrails are checked again",
            ),
        )

    async def _check(self, row: Mapping[str, Any]) -> None:
        described = definition.parse(row["definition"])
        if described.rollout is not None:
            await self._check_rollout(row, described, described.rollout)
            return
        async with postgres.connection(self._pool) as connection:
            measured = await results.measured(connection, row["experiment_id"], described)
        control, *others = described.names
        for variant in others:
            if variant in row["stopped"]:
                continue
            reason = conclusion.breach(
                described.guardrails,
                measured[control],
                measured[variant],
                conclusion.level(len(described.names), described.guardrails),
            )
            if reason:
                log.warning("experiment %s: the variant %s is stopped: %s", row["name"], variant, reason)
                await self._store.stop_variant(ACTOR, row["experiment_id"], variant, reason)

    async def _check_rollout(self, row: Mapping[str, Any], described: Definition, steps: Rollout) -> None:
        """Take a rollout back to its last good share, or on to its next step, by the requests of its present share."""
        progress = rollout.read(row["rollout"])
        since = datetime.fromtimestamp(progress.since, UTC)
        ident, (control, variant) = row["experiment_id"], described.names
        async with postgres.connection(self._pool) as connection:
            measured = await results.measured(connection, ident, described, since)
            compared = measured[control]
            if progress.share == rollout.WHOLE:
                # Nobody has the control any more: its requests of the shares before stand for it.
                compared = (await results.measured(connection, ident, described))[control]
        reason = conclusion.breach(
            described.guardrails,
            compared,
            measured[variant],
            rollout.level(conclusion.level(len(described.names), described.guardrails), progress),
        )
        if reason and progress.share:
            log.warning("rollout %s: falls back from %d %%: %s", row["name"], progress.share, reason)
            await self._store.fall_back(ACTOR, ident, progress, reason)
        # At a share of 0 nobody asks the variant, and nothing speaks against the first step.
        elif not progress.share or measured[variant][ERRORS.name].requests >= statistics.LEAST_REQUESTS:
            share = rollout.following(steps, progress, time.time())
            if share is not None:
                log.info("rollout %s: goes on to %d %%", row["name"], share)
                await self._store.go_on(ACTOR, ident, progress, share)
