"""What a version of the classifier that is not served makes of requests, put into their decisions for replays.

It is asked after the decision, so that no caller waits for it, and the decision is published when it has answered.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import prometheus_client
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2

from services.chassis import errors
from services.gateway.peers.clients import Classifier
from services.gateway.peers.decisions import DecisionPublisher

log = logging.getLogger(__name__)

MISSED = prometheus_client.Counter(
    "lumni_gateway_missed_shadows",
    "Decisions published without what the shadow was to make of the request: too many were under way, or it failed.",
)
# Each holds the texts of its request. A shadow without an encoder judges as many within the deadline of a call; one
# with an encoder refuses all but two at once.
MOST_UNDER_WAY = 64


class Shadows:
    """Decisions that wait for the shadow."""

    def __init__(self, classifier: Classifier, publisher: DecisionPublisher) -> None:
        """Ask `classifier`, and hand the decisions to `publisher`."""
        self._classifier = classifier
        self._publisher = publisher
        self._asking = False
        self._under_way: set[asyncio.Task[None]] = set()

    def publish(self, event: events_pb2.DecisionEvent, asked: classifier_pb2.ClassifyRequest) -> None:
        """Publish a decision when the shadow has judged what the classifier was asked; returns at once."""
        if not self._asking or len(self._under_way) >= MOST_UNDER_WAY:
            self._publish(event)
            return
        task = asyncio.create_task(self._judge(event, asked))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        # A callback, as a task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _: self._publish(event))

    @asynccontextmanager
    async def judging(self) -> AsyncIterator[None]:
        """Ask until the block ends; what is under way then, and comes later, is published as it is."""
        self._asking = True
        try:
            yield
        finally:
            self._asking = False
            left = list(self._under_way)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _judge(self, event: events_pb2.DecisionEvent, asked: classifier_pb2.ClassifyRequest) -> None:
        try:
            judged = await self._classifier.shadow(asked, event.classification.tier)
            event.asked.shadow.CopyFrom(_kept(judged))
        except errors.Fault as fault:
            # The classifier logs what fails in it.
            log.debug("the shadow does not judge: %s", fault.message)

    def _publish(self, event: events_pb2.DecisionEvent) -> None:
        if not event.asked.HasField("shadow"):
            MISSED.inc()
        self._publisher.publish(event)


def _kept(judged: classifier_pb2.Classification) -> classifier_pb2.Classification:
    """What decides about a selection."""
    return classifier_pb2.Classification(
        tier=judged.tier,
        category=judged.category,
        strong_win_rate=judged.strong_win_rate,
        language=judged.language,
        long_context=judged.long_context,
        version=judged.version,
    )
