"""Replays: reads what was, asks the selector what would be, and compares."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors, rpc, selection_messages
from services.chassis.candidates import OnlyOn
from services.gateway.ledger.rows import Kind
from services.gateway.peers.clients import Selector
from services.gateway.replays import comparison, configuration, judgement, past_requests, request
from services.gateway.replays.answer_lengths import AnswerLengths
from services.gateway.replays.comparison import Comparison
from services.gateway.replays.configuration import OtherConfiguration, Wanted
from services.gateway.replays.past_requests import Page, PastRequest
from services.gateway.replays.request import Candidate, Choice, Excluded, Outcome, Request
from services.gateway.reports.readers import Readers
from services.gateway.reports.time_range import TimeRange

T = TypeVar("T")

# Requests of one replay, and the longest time they may be of: what the selector takes in one call.
MOST_REQUESTS = 20_000
# The hours are for a range that ends with what is under way (`time_range`), and begins 92 days before somebody asked.
LONGEST = timedelta(days=92, hours=2)
# What a decision takes in a message beside itself, in bytes.
FRAMING = 6
# How long a replay may take altogether, in seconds.
TIMEOUT_S = 60.0


class Replays:
    """Replays requests of the ledger, one replay at a time."""

    def __init__(self, readers: Readers, selector: Selector, folder: Path) -> None:
        """Read through `readers`, ask `selector`; `folder` has the configuration in force."""
        self._readers = readers
        self._selector = selector
        self._folder = folder
        self._turn = asyncio.Lock()
        # What still runs in a thread, which no timeout ends.
        self._threads: set[asyncio.Future[Any]] = set()

    async def compare(self, times: TimeRange, wanted: Wanted, plan: str = "") -> Comparison:
        """What requests, those of all plans or of one, would have cost, and which models would have answered.

        Raises:
            Invalid: a field of what is wanted, by its name; or more than can be replayed at once.
            Unavailable: the database or the selector does not answer.
        """
        times.check(LONGEST)
        if self._turn.locked() or self._threads:
            raise errors.Unavailable("another replay is under way", retry_after_s=5)
        try:
            async with self._turn, asyncio.timeout(TIMEOUT_S):
                other = await self._in_thread(configuration.read, self._folder, wanted)
                return await self._compared(past_requests.pages(self._readers, times, plan), other, wanted)
        except TimeoutError:
            raise _too_much(f"took longer than {TIMEOUT_S:.0f} s") from None

    async def _compared(
        self, pages: AsyncIterator[Page], other: OtherConfiguration, wanted: Wanted
    ) -> Comparison:
        gathered = Gathered(other, wanted)
        async for page in pages:
            # In a thread: a page takes longer to read than other requests should wait.
            await self._in_thread(gathered.add, page)
        # Also without decisions: a configuration with mistakes is refused all the same.
        results = await self._selector.replay(gathered.asked, TIMEOUT_S)
        return await self._in_thread(gathered.summed, results)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run in a thread. It goes on when nobody waits for it any more, and the next replay begins after its end."""
        work = asyncio.ensure_future(asyncio.to_thread(function, *args))
        self._threads.add(work)
        work.add_done_callback(self._threads.discard)
        return await asyncio.shield(work)


class Gathered:
    """Requests of the past as far as they are read, and what the selector is to be asked for them.

    What was recorded of a decision is kept once, in the message to the selector.
    """

    def __init__(self, other: OtherConfiguration, wanted: Wanted) -> None:
        """Gather for a replay by another configuration."""
        self.asked = selector_pb2.ReplayRequest(configuration=wanted.message)
        self._other = other
        self._bytes = self.asked.ByteSize()
        self._past: list[Request] = []
        self._replayed: list[Request] = []
        self._outcomes: list[Outcome] = []
        self._excluded: Counter[Excluded] = Counter()

    def add(self, page: Page) -> None:
        """Add requests.

        Raises:
            Invalid: there are more than can be replayed at once, or more was recorded of them.
        """
        for one in page.requests():
            if len(self._past) == MOST_REQUESTS:
                raise _too_much(f"has more than {MOST_REQUESTS} requests")
            self._past.append(one.request)
            self._add(one)

    def _add(self, one: PastRequest) -> None:
        was, decision = one.request, one.decision
        if was.attempts and was.cached:
            # The cache goes by what the request is and who may see the answer, and gives it again.
            self._outcomes.append(Outcome(was, was.last.model, was.powerful, 0, 0, None))
            return
        reason = _excluded(one, self._other)
        if reason is not None:
            self._excluded[reason] += 1
            return
        assert decision is not None
        if version := self._other.classifier_version:
            category = decision.request.classification.category
            if not judgement.judge(decision, version, one.shadow):
                self._excluded[Excluded.NOT_JUDGED] += 1
                return
            if decision.request.classification.category != category:
                # How good models were taken to be was said of another task.
                was = replace(was, qualities=())
        self._other.apply(
            was.plan,
            decision.request.policy,
            strategy_of_plan=one.strategy_of_plan,
            split_of_plan=one.split_of_plan,
        )
        self._bytes += decision.ByteSize() + FRAMING
        if self._bytes > rpc.MAX_BODY:
            raise _too_much(f"has more than {rpc.MAX_BODY >> 20} MiB of what was recorded for a replay")
        self.asked.decisions.append(decision)
        self._replayed.append(was)

    def summed(self, results: Sequence[selector_pb2.SelectResult]) -> Comparison:
        """What follows from what the selector answered."""
        lengths = AnswerLengths(
            (attempt.model, one.category, attempt.tokens.completion_tokens)
            for one in self._past
            for attempt in one.attempts
            if attempt.kind is Kind.FINAL and not attempt.bound
        )
        for was, result in zip(self._replayed, results, strict=True):
            if result.WhichOneof("outcome") == "error":
                self._excluded[Excluded.REFUSED] += 1
                continue
            found = request.of(was, _choice(result.selection), self._other.prices, lengths)
            if isinstance(found, Excluded):
                self._excluded[found] += 1
            else:
                self._outcomes.append(found)
        return comparison.compared(self._outcomes, self._excluded, lengths)


def _excluded(one: PastRequest, other: OtherConfiguration) -> Excluded | None:
    if not one.request.attempts:
        return Excluded.NO_ATTEMPT
    if one.decision is None:
        return Excluded.NOT_RECORDED
    if one.decision.circumstances.incomplete:
        return Excluded.TOO_MANY_STATES
    return None if other.knows(one.request.plan) else Excluded.PLAN


def _choice(selection: selector_pb2.Selection) -> Choice:
    return Choice(
        selection.tier == classifier_pb2.TIER_POWERFUL,
        tuple(
            Candidate(
                one.deployment,
                one.model,
                one.quality,
                selection_messages.only_on(one.only_on) is OnlyOn.ANY,
            )
            for one in selection.candidates
        ),
    )


def _too_much(what: str) -> errors.Invalid:
    return errors.Invalid(
        f"from: this {what}; choose a shorter time, or one plan", reason="REPLAY_TOO_LARGE", param="from"
    )
