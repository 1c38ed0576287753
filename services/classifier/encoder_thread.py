"""Ask a sentence encoder without holding up the event loop: one text at a time, in a thread of its own."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import prometheus_client

from services.chassis.outage import Outage
from services.classifier.classify import Classifier, Seen

log = logging.getLogger(__name__)

# Texts that wait for the encoder at once, each of at most 16 ms: the last of them waits a fifth of a second, less than
# the gateway does, and what comes after them is judged without the encoder.
MOST_WAITING = 12
# Of them one batch asks for so many, so that others find a place.
MOST_OF_BATCH = 8

SKIPPED = prometheus_client.Counter(
    "lumni_classifier_encoder_skipped",
    "Requests judged without the sentence encoder because it was busy, or failed.",
)


class EncoderThread:
    """The thread that the encoders of this process run in, and who waits for it.

    A batch asks for one text after the other, so that others get their turn between them.
    """

    def __init__(self) -> None:
        """Start without a thread; the first text starts it."""
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._waiting = 0
        self._failing = Outage(
            log, "the sentence encoder fails; requests are judged without it", "it works again"
        )

    @property
    def has_queue(self) -> bool:
        """Whether a text waits behind the one that is read."""
        return self._waiting > 1

    async def opinions(self, classifier: Classifier, seen: Seen) -> None:
        """Put the encoder's opinions where `classifier.judge` finds them; some or none while too many texts wait.

        An encoder that fails costs a request its opinion, and nothing else.
        """
        encoder = classifier.encoder
        texts: Mapping[bytes, str] = classifier.texts(seen)
        if encoder is None or not texts:
            return
        asked = list(texts.items())[: min(MOST_OF_BATCH, MOST_WAITING - self._waiting)]
        left = len(asked)
        SKIPPED.inc(len(texts) - left)
        self._waiting += left
        try:
            for key, text in asked:
                seen.opinions[key] = await asyncio.get_running_loop().run_in_executor(
                    self._thread, encoder.read, text
                )
                self._waiting -= 1
                left -= 1
            self._failing.end()
        except Exception as error:
            # Whatever ails it, the heads judge.
            if self._failing.begin(error):
                log.exception("what the encoder raised")
            SKIPPED.inc(left)
        finally:
            self._waiting -= left
