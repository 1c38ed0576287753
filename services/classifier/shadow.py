"""A version that judges requests beside the one that is served, so that both can be compared."""

import logging
import time

import prometheus_client

from services.chassis.draws import fraction
from services.chassis.errors import Exhausted, Internal
from services.classifier.classify import Classification, Classifier
from services.classifier.encoder_thread import EncoderThread
from services.classifier.reading import Reading

log = logging.getLogger(__name__)

# A shadow that fails is logged at most once in so long, in seconds.
FAILURES_LOGGED_S = 60.0

SHADOWED = prometheus_client.Counter(
    "lumni_classifier_shadow",
    "Requests judged by a shadow, by whether its tier is the one that was served.",
    ["version", "agrees"],
)
FAILURES = prometheus_client.Counter(
    "lumni_classifier_shadow_failures", "Requests that a shadow failed to judge.", ["version"]
)


class Shadow:
    """The version, and which requests it judges.

    Attributes:
        version: Its name.

    """

    def __init__(self, classifier: Classifier, share: float = 1.0) -> None:
        """Judge a share of the requests, 0 to 1."""
        self.version = classifier.version
        self._classifier = classifier
        self._share = share
        self._failure_logged = -FAILURES_LOGGED_S

    def judges(self, request_id: str, served: str) -> bool:
        """Whether it judges a request that a version has judged: the same in every replica and at every call."""
        # Another draw than that of the version to serve, so that every version's requests have this share of them.
        return served != self.version and fraction(f"shadow/{request_id}") < self._share

    async def judge(self, reading: Reading, thread: EncoderThread, *, powerful: bool) -> Classification:
        """Judge a conversation, and count whether it is as powerful as was served.

        Raises:
            Exhausted: the sentence encoder is too busy, or fails; what the heads say alone is not what it would say.
            Internal: it fails.
        """
        try:
            seen = self._classifier.look([reading])
            # Callers wait for the same encoder: at most two texts of the shadow are ever before theirs.
            if thread.has_queue and self._classifier.texts(seen):
                raise Exhausted("the sentence encoder is busy")
            await thread.opinions(self._classifier, seen)
            if self._classifier.texts(seen):
                raise Exhausted("the sentence encoder fails")
            [judged] = self._classifier.judge(seen)
        except Exhausted:
            raise
        except Exception as error:
            FAILURES.labels(self.version).inc()
            now = time.monotonic()
            if now - self._failure_logged >= FAILURES_LOGGED_S:
                self._failure_logged = now
                log.exception("the shadow %s fails to judge", self.version)
            raise Internal(f"the shadow {self.version} fails to judge") from error
        SHADOWED.labels(self.version, "yes" if judged.powerful == powerful else "no").inc()
        return judged
