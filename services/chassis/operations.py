"""The kinds of calls that a model can take, and which of LiteLLM's modes take which."""

from collections.abc import Mapping
from enum import StrEnum


class Operation(StrEnum):
    """The kind of a call; each has a format of its own."""

    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"


# LiteLLM's modes of the models that can take an operation.
MODES: Mapping[str, frozenset[str]] = {
    Operation.CHAT: frozenset({"chat", "responses"}),
    Operation.RESPONSES: frozenset({"chat", "responses"}),
    Operation.MESSAGES: frozenset({"chat", "responses"}),
    Operation.COMPLETIONS: frozenset({"chat", "completion"}),
    Operation.EMBEDDINGS: frozenset({"embedding"}),
    Operation.MODERATIONS: frozenset({"moderation"}),
}
