"""The contract's messages from and to the core's types."""

from collections.abc import Sequence

from google.protobuf.message import Message
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis.costs import Cost
from services.chassis.operations import Operation
from services.chassis.selection_messages import only_on
from services.executor.attempts.model import Attempt, AttemptState, Candidate, Report, Skip, Work
from services.executor.engines.base import File
from services.executor.engines.usage import Usage
from services.executor.formats.base import Chunk

OPERATIONS: dict[int, Operation] = {
    pb.OPERATION_UNSPECIFIED: Operation.CHAT,
    pb.OPERATION_CHAT: Operation.CHAT,
    pb.OPERATION_RESPONSES: Operation.RESPONSES,
    pb.OPERATION_MESSAGES: Operation.MESSAGES,
    pb.OPERATION_COMPLETIONS: Operation.COMPLETIONS,
    pb.OPERATION_EMBEDDINGS: Operation.EMBEDDINGS,
    pb.OPERATION_MODERATIONS: Operation.MODERATIONS,
    pb.OPERATION_IMAGE_GENERATION: Operation.IMAGE_GENERATION,
    pb.OPERATION_AUDIO_SPEECH: Operation.AUDIO_SPEECH,
    pb.OPERATION_AUDIO_TRANSCRIPTION: Operation.AUDIO_TRANSCRIPTION,
}
EVENT_KINDS = {
    AttemptState.STARTED: events_pb2.USAGE_KIND_STARTED,
    AttemptState.FINAL: events_pb2.USAGE_KIND_FINAL,
    AttemptState.PARTIAL: events_pb2.USAGE_KIND_PARTIAL,
    AttemptState.FAILED: events_pb2.USAGE_KIND_FAILED,
}
OUTCOMES = {
    AttemptState.STARTED: pb.OUTCOME_UNSPECIFIED,
    AttemptState.FINAL: pb.OUTCOME_SUCCEEDED,
    AttemptState.PARTIAL: pb.OUTCOME_PARTIAL,
    AttemptState.FAILED: pb.OUTCOME_FAILED,
}


class Origin:
    """What usage events repeat of the request that they belong to."""

    __slots__ = ("category", "context", "operation", "tier")

    def __init__(self, request: pb.ExecuteRequest) -> None:
        self.context: chat_pb2.RequestContext = request.context
        self.category: classifier_pb2.Category.ValueType = request.category
        self.tier: classifier_pb2.Tier.ValueType = request.tier
        self.operation: pb.Operation.ValueType = request.operation or pb.OPERATION_CHAT


def candidates(sent: Sequence[pb.Candidate]) -> tuple[Candidate, ...]:
    """The candidates of a request."""
    return tuple(Candidate(one.deployment, only_on(one.only_on), one.max_cost_nano_usd) for one in sent)


def file(request: pb.ExecuteRequest) -> File | None:
    """What is uploaded with a request."""
    if not request.HasField("file"):
        return None
    return File(request.file.name, request.file.content_type, request.file.content)


def usage(counted: Usage) -> pb.Usage:
    """Tokens."""
    return pb.Usage(
        prompt_tokens=counted.prompt_tokens,
        completion_tokens=counted.completion_tokens,
        cached_tokens=counted.cached_tokens,
        cache_write_tokens=counted.cache_write_tokens,
        cache_write_1h_tokens=counted.cache_write_1h_tokens,
        reasoning_tokens=counted.reasoning_tokens,
        audio_prompt_tokens=counted.audio_prompt_tokens,
        audio_completion_tokens=counted.audio_completion_tokens,
        web_searches=counted.web_searches,
        image_completion_tokens=counted.image_completion_tokens,
    )


def attempt(made: Attempt, *, worded: bool = True) -> pb.Attempt:
    """One attempt, with the provider's own words unless it is not `worded`."""
    return pb.Attempt(
        id=made.id,
        deployment=made.deployment.id,
        model=made.deployment.model,
        provider=made.deployment.provider,
        outcome=OUTCOMES[made.state],
        error_class=made.error.value if made.error else "",
        status_code=made.status_code,
        usage=usage(made.usage) if made.state is not AttemptState.STARTED else None,
        cost_nano_usd=made.cost_nano_usd,
        cost_parts=_cost_parts(made.cost_parts) if made.cost_parts else None,
        started_unix_us=made.started_unix_us,
        duration_ms=made.duration_ms,
        first_chunk_ms=made.first_chunk_ms,
        estimated=made.estimated,
        message=made.message if worded else "",
        unpriced=not made.deployment.price.known,
        dropped=made.dropped,
    )


def report(made: Report) -> pb.Report:
    """What a whole call took."""
    return pb.Report(
        usage=usage(made.usage),
        cost_nano_usd=made.cost_nano_usd,
        attempts=[attempt(one) for one in made.attempts],
        timing=pb.Timing(
            total_ms=made.total_ms,
            provider_ms=made.provider_ms,
            first_chunk_ms=made.first_chunk_ms,
            queue_ms=made.queue_ms,
        ),
        estimated=any(one.estimated for one in made.attempts),
        skips=[_skip(one) for one in made.skips],
    )


def chunks(made: Sequence[Chunk]) -> pb.StreamExecuteResponse:
    """Chunks that travel together."""
    response = pb.StreamExecuteResponse()
    # Filled in place: a message that is given to another one is copied.
    response.chunks.chunk_json.extend([chunk.text for chunk in made])
    if finishing := [position for position, chunk in enumerate(made) if chunk.finishes]:
        response.chunks.finishing.extend(finishing)
    return response


def event(work: Work, made: Attempt) -> Message:
    """What the ledger reads of an attempt; not the provider's own words, which may repeat the prompt."""
    origin = work.origin
    assert isinstance(origin, Origin)
    return events_pb2.UsageEvent(
        kind=EVENT_KINDS[made.state],
        context=origin.context,
        attempt=attempt(made, worded=False),
        max_cost_nano_usd=made.max_cost_nano_usd,
        category=origin.category,
        tier=origin.tier,
        operation=origin.operation,
        stream=work.stream,
    )


def _cost_parts(cost: Cost) -> pb.CostParts:
    return pb.CostParts(
        input_nano_usd=cost.input,
        cached_nano_usd=cost.cached,
        output_nano_usd=cost.output,
        fees_nano_usd=cost.fees,
    )


def _skip(made: Skip) -> pb.Skip:
    return pb.Skip(deployment=made.deployment, reason=made.reason)
