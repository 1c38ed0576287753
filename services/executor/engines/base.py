"""What an attempt needs of an engine: something that turns a call into pieces of an answer, or a failure."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.engines.usage import Usage


class Phase(IntEnum):
    """How far a call came."""

    # It is being made ready: what fails is the caller's mistake, or ours.
    PREPARING = 0
    # A connection is being opened: what fails is the provider's, or the way there, and costs nothing.
    CONNECTING = 1
    # The request is on its way, so the provider may bill it.
    SENT = 2


@dataclass(slots=True)
class Progress:
    """How far one attempt at a call came, and what was left out of it; the engine notes both."""

    phase: Phase = Phase.PREPARING
    # The parameters that were not sent on, by name.
    dropped: tuple[str, ...] = ()

    @property
    def sent(self) -> bool:
        """Whether the provider may have seen anything of the request."""
        return self.phase is Phase.SENT


@dataclass(frozen=True, slots=True)
class File:
    """What a caller uploads beside the fields of a request: its name and type, as the caller says, and its bytes."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one provider.

    Args:
        deployment: The deployment to call.
        key: Its resolved key; None when it needs none. Never shown.
        operation: The kind of call.
        body: The caller's body, already stripped of what is not the provider's business.
        stream: Whether pieces are wanted as they come.
        timeout_s: Seconds that the provider may stay silent.
        file: What is uploaded with the body; None where the operation takes no file.
        audio_ms: How long the sound in it is taken to be, in milliseconds, where the provider does not say.
        size: Characters of the body as it came; a long one is translated beside the event loop.
        progress: How far it came; each attempt has one of its own.

    """

    deployment: Deployment
    key: str | None = field(repr=False)
    operation: Operation
    body: Mapping[str, Any] = field(repr=False)
    stream: bool
    timeout_s: float
    file: File | None = None
    audio_ms: int = 0
    size: int = 0
    progress: Progress = field(default_factory=Progress, compare=False)


# Not frozen, as one is made for every chunk of a stream: that takes three times as long.
@dataclass(slots=True)
class Piece:
    """One JSON object from the provider, in the operation's own format: the answer, or a chunk of it.

    An answer that is no JSON has `content` instead.

    Args:
        data: The object; empty where a chunk says nothing in this format.
        text: The same as the provider spelled it, when nothing was translated.
        headers: The response's headers, lower case; only on the first piece.
        done: True for OpenAI's [DONE], which carries nothing else.
        estimated: Whether the usage in it was counted by LiteLLM, as the provider reports none.
        content: A whole answer that is no JSON.
        content_type: What that is, as HTTP names it.

    """

    data: dict[str, Any]
    text: str | None = None
    headers: Mapping[str, str] | None = None
    done: bool = False
    estimated: bool = False
    content: bytes = b""
    content_type: str = ""


class Engine(Protocol):
    """One way to call providers."""

    @property
    def name(self) -> str:
        """`fast` or `general`, as the configuration and ListDeployments name it."""

    def call(self, call: Call) -> AsyncGenerator[Piece]:
        """Call the provider: one piece without a stream, all chunks with one.

        A stream that ends before the provider marked it as complete is an error, never a silent end. Closing
        the generator closes the provider's connection. `call.progress` says how far it came.

        Raises:
            Failed: anything else than a whole answer.
        """

    def estimate(self, call: Call, text: str) -> Usage:
        """Count the tokens of the prompt and of an answer with the model's tokenizer; never fails."""
