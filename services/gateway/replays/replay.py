"""Replays: reads what was, asks the selector what would be, and compares."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors, selection_messages
from services.chassis.candidates import OnlyOn
from services.gateway.peers.clients import Selector
from services.gateway.replays import comparison, configuration, past_requests, request
from services.gateway.replays.answer_lengths import AnswerLengths
from services.gateway.replays.comparison import Comparison
from services.gateway.replays.configuration import OtherConfiguration, Wanted
from services.gateway.replays.past_requests import PastRequest, Span
from services.gateway.replays.request import Candidate, Choice, Excluded, Outcome
from services.gateway.reports.readers import Readers

# Requests of one replay, and the longest time they may be of: what the selector takes in one call.
MOST_REQUESTS = 20_000
LONGEST = timedelta(days=92)
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

    async def compare(self, span: Span, wanted: Wanted) -> Comparison:
        """What the requests of a span would have cost, and which models would have answered.

        Raises:
            Invalid: a field of what is wanted, by its name; or more than can be replayed at once.
            Unavailable: the database or the selector does not answer.
        """
        if not timedelta() < span.until - span.since <= LONGEST:
            raise errors.Invalid(
                f"from, to: expected at most {LONGEST.days} days, and from before to", param="from"
            )
        if self._turn.locked():
            raise errors.Unavailable("another replay is under way", retry_after_s=5)
        try:
            async with self._turn, asyncio.timeout(TIMEOUT_S):
                other = await asyncio.to_thread(configuration.read, self._folder, wanted)
                past = await self._read(span)
                return await self._compared(past, other, wanted)
        except TimeoutError:
            raise _too_much(f"took longer than {TIMEOUT_S:.0f} s") from None

    async def _read(self, span: Span) -> list[PastRequest]:
        past = []
        async for one in past_requests.read(self._readers, span):
            past.append(one)
            if len(past) > MOST_REQUESTS:
                raise _too_much(f"has more than {MOST_REQUESTS} requests")
        return past

    async def _compared(
        self, past: list[PastRequest], other: OtherConfiguration, wanted: Wanted
    ) -> Comparison:
        asked = selector_pb2.ReplayRequest(configuration=wanted.message)
        replayed: list[PastRequest] = []
        outcomes: list[Outcome] = []
        excluded: Counter[Excluded] = Counter()
        for one in past:
            reason = _excluded(one, other)
            if one.request.attempts and one.request.cached:
                # The cache goes by what the request is and who may see the answer, and gives it again.
                outcomes.append(
                    Outcome(one.request, one.request.last.model, one.request.powerful, 0, 0, None)
                )
            elif reason is not None:
                excluded[reason] += 1
            else:
                assert one.decision is not None
                other.apply(one.request.plan, one.asked, one.decision.request.policy)
                asked.decisions.append(one.decision)
                replayed.append(one)
        # Also without decisions: a configuration with mistakes is refused all the same.
        results = await self._selector.replay(asked, TIMEOUT_S)
        return await asyncio.to_thread(_summed, past, replayed, results, outcomes, excluded, other)


def _summed(
    past: list[PastRequest],
    replayed: list[PastRequest],
    results: list[selector_pb2.SelectResult],
    outcomes: list[Outcome],
    excluded: Counter[Excluded],
    other: OtherConfiguration,
) -> Comparison:
    lengths = AnswerLengths(
        (attempt.model, one.request.category, attempt.tokens.completion_tokens)
        for one in past
        for attempt in one.request.attempts
        if attempt.kind == "final" and not attempt.bound
    )
    for one, result in zip(replayed, results, strict=True):
        if result.WhichOneof("outcome") == "error":
            excluded[Excluded.REFUSED] += 1
            continue
        found = request.of(one.request, _choice(result.selection), other.prices, lengths)
        if isinstance(found, Excluded):
            excluded[found] += 1
        else:
            outcomes.append(found)
    return comparison.compared(outcomes, excluded, lengths)


def _excluded(one: PastRequest, other: OtherConfiguration) -> Excluded | None:
    if not one.request.attempts:
        return Excluded.NO_ATTEMPT
    if one.decision is None:
        return Excluded.NOT_RECORDED
    if one.asked.circumstances.incomplete:
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
