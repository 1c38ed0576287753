"""Ask a sentence encoder without holding up the event loop: one text at a time, in a thread of its own."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import prometheus_client

from services.classifier.classify import Classifier, Seen

# Calls that wait for the encoder at once, each with one text of at most 16 ms: the last of them waits a fifth of a
# second, less than the gateway does, and who comes after them is judged without the encoder.
MOST_WAITING = 12

SKIPPED = prometheus_client.Counter(
    "lumni_classifier_encoder_skipped", "Requests judged without the sentence encoder because it was busy."
)


class Asking:
    """The thread that the encoders of this process run in, and who waits for it.

    A batch waits for each of its texts anew, so that single requests get their turn between them.
    """

    def __init__(self) -> None:
        """Start without a thread; the first text starts it."""
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._waiting = 0

    async def opinions(self, classifier: Classifier, seen: Seen) -> None:
        """Put the encoder's opinions where `classifier.judge` finds them; some or none while too many wait."""
        encoder = classifier.encoder
        texts: Mapping[bytes, str] = classifier.texts(seen)
        if encoder is None:
            return
        for number, (key, text) in enumerate(texts.items()):
            if self._waiting >= MOST_WAITING:
                SKIPPED.inc(len(texts) - number)
                return
            self._waiting += 1
            try:
                seen.opinions[key] = await asyncio.get_running_loop().run_in_executor(
                    self._thread, encoder.read, text
                )
            finally:
                self._waiting -= 1
