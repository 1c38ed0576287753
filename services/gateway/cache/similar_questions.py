"""The questions of a partition that say the same as a new one: found by what they are about, decided by their words."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from services.chassis import errors
from services.chassis.outage import Outage
from services.gateway.cache.answer_key import AnswerKey, AnswerKeys
from services.gateway.cache.semantic import last_message, same_question, signature
from services.gateway.cache.store import AnswerStore, Question
from services.gateway.keys.permissions import Caller
from services.gateway.requests.model_request import ModelRequest

log = logging.getLogger(__name__)

# Separates the digests of partitions from those of requests.
PARTITION = b"all but the last message"


class SimilarQuestions:
    """Finds them.

    Args:
        store: Where they are kept, with their answers.
        keys: By what partitions are named.
        embed: Tells what a text is about, as a vector.

    """

    def __init__(
        self, store: AnswerStore, keys: AnswerKeys, embed: Callable[[str], Awaitable[Sequence[float]]]
    ) -> None:
        self._store = store
        self._keys = keys
        self._embed = embed
        self._outage = Outage(
            log,
            "the semantic cache is off, as the classifier embeds nothing",
            "the semantic cache is on again",
        )

    async def question(self, caller: Caller, request: ModelRequest, policy: bytes) -> Question | None:
        """The last message of a request as it is compared with others; None where it is compared with none.

        Args:
            caller: Who asks.
            request: What for.
            policy: As in `AnswerKeys.of`.
        """
        divided = last_message.divided(request.operation, request.body)
        # What a search finds changes.
        if divided is None or request.searches or self._outage.resting:
            return None
        rest = replace(request, body=divided.rest)
        partition = await self._keys.of(caller, rest, policy + PARTITION)
        read = same_question.read(divided.text)
        try:
            about = signature.of(await self._embed(read.form))
        except (errors.Fault, ValueError) as error:
            self._outage.begin(error)
            return None
        self._outage.end()
        return Question(partition.digest, about, divided.text, read)

    async def same(self, question: Question, tenant: str) -> list[AnswerKey]:
        """The keys of the answers to the questions that say the same, the most similar first."""
        listed = await self._store.questions(question.partition)
        near = [listed[place] for place in signature.nearest(question.about, [one.about for one in listed])]
        if not near:
            return []
        digests = [one.digest for one in near]
        texts = await self._store.texts(question.partition, digests)
        return [
            AnswerKey(digest, tenant)
            for digest, text in zip(digests, texts, strict=True)
            if text is not None and same_question.same(same_question.read(text), question.reading)
        ]
