"""A valid request to a model, whatever its operation: its body to pass on, and what a decision needs to know of it."""

from dataclasses import dataclass, field, replace
from typing import Any

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2

from services.chassis import offload
from services.chassis.operations import Operation
from services.chassis.unit_prices import NO_UNITS, Units
from services.gateway.requests.assignment import Assignment
from services.gateway.requests.cache_control import CacheControl
from services.gateway.requests.hints import Hints
from services.gateway.requests.upload import Upload

# The field of a body that caps the tokens of one answer; an operation without one answers with no text of the model's.
CAPS = {
    Operation.CHAT: "max_completion_tokens",
    Operation.COMPLETIONS: "max_tokens",
    Operation.MESSAGES: "max_tokens",
    Operation.RESPONSES: "max_output_tokens",
}


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a caller asks of a model.

    Attributes:
        operation: The kind of call.
        body: What travels on: as it came, without what is ours.
        model: The model's name, or auto.
        messages: What a decision reads of the conversation; empty where there is nothing to judge.
        stream: Whether the answer is wanted in pieces.
        output_tokens: The cap of one answer that the caller set, in tokens; 0 where it set none. Of pictures and sound
            it is a bound.
        choices: How many answers are asked for.
        tools: The names of the functions that may be called.
        searches: How often the provider may search the web for one answer.
        output_format: What kind of text the answer must be.
        prompt_tokens: An upper bound of the prompt, which money is reserved for.
        likely_prompt_tokens: The estimate that tokens per minute are counted with, and that answers show.
        window_tokens: What of the prompt must fit a context window at once; 0 is all of `likely_prompt_tokens`.
        predicted_tokens: A bound of what the caller predicts: where the model says something else, it is billed as
            output all the same.
        units: What is billed where the provider reports no tokens.
        upload: The file that comes with the body; None where the operation takes none.
        hints: What the caller wishes of the decision.
        cache: What it wishes of the response cache.
        prompt: The version of a stored prompt that it was made of, such as greeting@3; empty where there is none.
        assignment: The variant of an experiment that it was assigned; None where it takes part in none.
        size: Bytes of what it was made of where they are many, so that its work is done beside the event loop; else 0.

    """

    operation: Operation
    body: dict[str, Any]
    model: str
    messages: list[chat_pb2.Message] = field(default_factory=list)
    stream: bool = False
    output_tokens: int = 0
    choices: int = 1
    tools: list[str] = field(default_factory=list)
    searches: int = 0
    output_format: "classifier_pb2.OutputFormat.ValueType" = classifier_pb2.OUTPUT_FORMAT_TEXT
    prompt_tokens: int = 0
    likely_prompt_tokens: int = 0
    window_tokens: int = 0
    predicted_tokens: int = 0
    units: Units = NO_UNITS
    upload: Upload | None = None
    hints: Hints = field(default_factory=Hints)
    cache: CacheControl = field(default_factory=CacheControl)
    prompt: str = ""
    assignment: Assignment | None = None
    size: int = 0

    def with_size(self, size: int) -> "ModelRequest":
        """The same, made of so many bytes; of several sizes the largest counts."""
        return replace(self, size=size) if size > max(self.size, offload.LONG) else self

    @property
    def cacheable(self) -> bool:
        """Whether an answer may be given again: pictures and sound are too long to be kept."""
        return self.units == NO_UNITS

    @property
    def deterministic(self) -> bool:
        """Whether the same request is meant to get the same answer."""
        if self.operation in (Operation.EMBEDDINGS, Operation.MODERATIONS):
            return True
        fixed = self.body.get("temperature") == 0 or self.body.get("seed") is not None
        # What a search finds changes.
        return fixed and not self.searches

    @property
    def vision(self) -> bool:
        """Whether a message carries an image."""
        return any(message.has_image for message in self.messages)

    @property
    def audio(self) -> bool:
        """Whether a message carries sound."""
        return any(message.has_audio for message in self.messages)

    @property
    def file(self) -> bool:
        """Whether a message carries a file."""
        return any(message.has_file for message in self.messages)

    def output_bound(self, default: int) -> int:
        """The most output tokens of one answer, where `default` is the cap of a request that sets none."""
        if self.operation not in CAPS:
            return self.output_tokens
        return (self.output_tokens or default) + self.predicted_tokens

    def capped(self, default: int) -> dict[str, Any]:
        """The body with a cap of the answer, which is `default` where the caller set none."""
        cap = CAPS.get(self.operation)
        return self.body if cap is None or self.output_tokens else {**self.body, cap: default}
