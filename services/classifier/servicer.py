"""Between the wire and the core: unpack, judge, pack."""

import logging
import time
from collections.abc import Sequence
from functools import cache
from itertools import chain

import prometheus_client
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2 as pb
from lumni.classifier.v1 import classifier_pb2_grpc as pb_grpc

from services.chassis import bounds, rpc, status
from services.chassis.bounds import REQUEST_CONTEXT, Bounds, Number
from services.chassis.errors import Fault, Internal, Invalid, NotFound
from services.classifier.classify import Classification, Classifier, Versions
from services.classifier.encoder_thread import EncoderThread
from services.classifier.reading import TURNS_READ, Reading, Turn, read
from services.classifier.shadow import Shadow

log = logging.getLogger(__name__)

MOST_REQUESTS = 256
CLASSIFY: Bounds = {"context": REQUEST_CONTEXT}
# No body is that long.
MESSAGE: Bounds = {"omitted_chars": Number(0, 2**34)}
ROLES = {
    chat_pb2.ROLE_SYSTEM: "system",
    chat_pb2.ROLE_DEVELOPER: "developer",
    chat_pb2.ROLE_USER: "user",
    chat_pb2.ROLE_ASSISTANT: "assistant",
    chat_pb2.ROLE_TOOL: "tool",
}
STRUCTURED = (pb.OUTPUT_FORMAT_JSON_OBJECT, pb.OUTPUT_FORMAT_JSON_SCHEMA)
CATEGORIES = {
    "chat": pb.CATEGORY_CHAT,
    "factual question": pb.CATEGORY_FACTUAL_QUESTION,
    "writing": pb.CATEGORY_WRITING,
    "summarization": pb.CATEGORY_SUMMARIZATION,
    "translation": pb.CATEGORY_TRANSLATION,
    "extraction": pb.CATEGORY_EXTRACTION,
    "code": pb.CATEGORY_CODE,
    "math": pb.CATEGORY_MATH,
    "reasoning": pb.CATEGORY_REASONING,
    "science": pb.CATEGORY_SCIENCE,
    "planning": pb.CATEGORY_PLANNING,
    "other": pb.CATEGORY_OTHER,
}

LATENCY = prometheus_client.Histogram(
    "lumni_classifier_duration_seconds",
    "Time to judge the requests of one call.",
    ["method"],
    buckets=(0.00005, 0.0001, 0.00015, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1),
)
SCORE = prometheus_client.Histogram(
    "lumni_classifier_strong_win_rate",
    "Probability that a powerful model is needed.",
    ["version", "served"],
    buckets=tuple(step / 20 for step in range(1, 20)),
)
CLASSIFIED = prometheus_client.Counter(
    "lumni_classifier_requests", "Requests judged.", ["version", "category", "tier"]
)
# The metrics of each kind of call and classification, looked up once.
_latency, _score, _classified = cache(LATENCY.labels), cache(SCORE.labels), cache(CLASSIFIED.labels)


class ClassifierServicer(pb_grpc.ClassifierServiceServicer):
    """The classifier on the wire."""

    def __init__(self, versions: Versions, shadow: Shadow | None = None) -> None:
        """Serve `versions`; `shadow` judges the same requests when it is asked to, and is never served."""
        self._versions = versions
        self._shadow = shadow
        self._encoder_thread = EncoderThread()

    async def Classify(self, request: pb.ClassifyRequest, context: object) -> pb.ClassifyResponse:
        """Judge one conversation."""
        with _latency("Classify").time():
            [outcome] = await self._judge([request])
        if isinstance(outcome, Fault):
            raise outcome
        return pb.ClassifyResponse(classification=outcome)

    async def BatchClassify(
        self, request: pb.BatchClassifyRequest, context: object
    ) -> pb.BatchClassifyResponse:
        """Judge many conversations, each with its own success or failure."""
        if len(request.requests) > MOST_REQUESTS:
            raise Invalid(f"requests: at most {MOST_REQUESTS} in one call", param="requests")
        began_ns = time.time_ns()
        with _latency("BatchClassify").time():
            outcomes = await self._judge(request.requests)
        for item, outcome in zip(request.requests, outcomes, strict=True):
            fault = outcome if isinstance(outcome, Fault) else None
            rpc.record_item("Classify", item.context, began_ns, fault)
        return pb.BatchClassifyResponse(
            results=[
                pb.ClassifyResult(error=status.to_failure(outcome))
                if isinstance(outcome, Fault)
                else pb.ClassifyResult(classification=outcome)
                for outcome in outcomes
            ]
        )

    async def Shadow(self, request: pb.ShadowRequest, context: object) -> pb.ShadowResponse:
        """Judge one conversation by the version that is not served."""
        if self._shadow is None:
            raise NotFound("there is no shadow; LUMNI_CLASSIFIER_SHADOW names one")
        asked = request.classify
        bounds.check(asked, CLASSIFY, "classify.")
        if request.served_tier not in (pb.TIER_FAST, pb.TIER_POWERFUL):
            raise Invalid("served_tier: expected fast or powerful", param="served_tier")
        powerful = request.served_tier == pb.TIER_POWERFUL
        with _latency("Shadow").time():
            judged = await self._shadow.judge(reading(asked), self._encoder_thread, powerful=powerful)
        _score(judged.version, "no").observe(judged.strong_win_rate)
        return pb.ShadowResponse(classification=pack(judged, asked))

    async def Embed(self, request: pb.EmbedRequest, context: object) -> pb.EmbedResponse:
        """Tell what a text is about."""
        bounds.check(request, CLASSIFY)
        if not request.text.strip():
            raise Invalid("text: expected some", param="text")
        with _latency("Embed").time():
            return pb.EmbedResponse(vector=self._versions.of(request.context.request_id).embed(request.text))

    async def _judge(self, requests: Sequence[pb.ClassifyRequest]) -> list[pb.Classification | Fault]:
        outcomes: dict[int, pb.Classification | Fault] = {}
        by_version: dict[Classifier, list[tuple[int, Reading]]] = {}
        for number, request in enumerate(requests):
            try:
                bounds.check(request, CLASSIFY)
                classifier = self._versions.of(request.context.request_id)
                by_version.setdefault(classifier, []).append((number, reading(request)))
            except Fault as fault:
                outcomes[number] = fault
        for classifier, places in by_version.items():
            outcomes.update(await self._judged(classifier, requests, places))
        return [outcomes[number] for number in range(len(requests))]

    async def _judged(
        self,
        classifier: Classifier,
        requests: Sequence[pb.ClassifyRequest],
        places: Sequence[tuple[int, Reading]],
    ) -> dict[int, pb.Classification | Fault]:
        """Judge what one version is to judge: together, and each by itself where that fails."""
        try:
            seen = classifier.look([read for _, read in places])
            await self._encoder_thread.opinions(classifier, seen)
            served = classifier.judge(seen)
            outcomes = {
                number: self._served(judged, requests[number])
                for (number, _), judged in zip(places, served, strict=True)
            }
        except Exception:  # whatever one request meets, the others have their answers
            if len(places) > 1:
                each = [await self._judged(classifier, requests, [place]) for place in places]
                return dict(chain.from_iterable(outcomes.items() for outcomes in each))
            log.exception("one of %d requests failed", len(requests))
            return {places[0][0]: Internal("internal error")}
        for judged in served:
            _score(judged.version, "yes").observe(judged.strong_win_rate)
            _classified(judged.version, judged.category, "powerful" if judged.powerful else "fast").inc()
        return {**outcomes}

    def _served(self, judged: Classification, request: pb.ClassifyRequest) -> pb.Classification:
        """Pack a classification, with the shadow that judges the request as well."""
        packed = pack(judged, request)
        shadow = self._shadow
        if shadow is not None and shadow.judges(request.context.request_id, judged.version):
            packed.shadow = shadow.version
        return packed


def reading(request: pb.ClassifyRequest) -> Reading:
    """Unpack what is judged; of a very long conversation the first turn and the latest.

    Raises:
        Invalid: there are no messages, or one that is read lies outside of its bounds.
    """
    messages: Sequence[chat_pb2.Message] = request.messages
    if not messages:
        raise Invalid("messages: at least one is needed", param="messages")
    unread_turns = max(0, len(messages) - TURNS_READ)
    kept = [0, *range(unread_turns + 1, len(messages))]
    # Nearly the number of characters, and known without unpacking them.
    unread_chars = (
        max(0, request.ByteSize() - sum(messages[place].ByteSize() for place in kept)) if unread_turns else 0
    )
    return read(
        [_turn(messages[place], place) for place in kept],
        len(request.tools),
        structured=request.output_format in STRUCTURED,
        unread_turns=unread_turns,
        unread_chars=unread_chars,
    )


def _turn(message: chat_pb2.Message, place: int) -> Turn:
    bounds.check(message, MESSAGE, f"messages[{place}].")
    return Turn(
        ROLES.get(message.role, "user"),
        message.text,
        message.has_image,
        message.has_audio,
        message.has_file,
        message.omitted_chars,
    )


def pack(judged: Classification, request: pb.ClassifyRequest) -> pb.Classification:
    """Pack a classification; the caller's own category is reported in place of ours."""
    return pb.Classification(
        tier=pb.TIER_POWERFUL if judged.powerful else pb.TIER_FAST,
        category=request.hints.category or CATEGORIES[judged.category],
        subject=judged.subject,
        strong_win_rate=judged.strong_win_rate,
        confidence=judged.confidence,
        language=judged.language,
        prompt_tokens=judged.prompt_tokens,
        long_context=judged.long_context,
        factors=[
            pb.Factor(name=factor.name, value=factor.value, contribution=factor.contribution)
            for factor in judged.factors
        ],
        version=judged.version,
        truncated=judged.truncated,
        features=judged.features.tolist() if request.include_features else (),
    )
