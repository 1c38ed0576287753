"""Numbers by which a conversation that is asked again, or goes on, is found among its caller's requests."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

# One text in 65,536 has the same number: enough to find a turn among one caller's requests of an hour, and too few to
# tell what was said.
BITS = 16


class Message(Protocol):
    """A message as a decision reads it."""

    @property
    def role(self) -> int:
        """Whose it is."""

    @property
    def text(self) -> str:
        """What it says."""


def turns(
    caller: str, messages: Sequence[Message], *, assistant: int, user: int
) -> tuple[int | None, int | None]:
    """The number of a conversation, and the one that it had a turn ago; None for one that there is not.

    Args:
        caller: Whose conversation it is; equal texts of two callers have different numbers.
        messages: The conversation, the oldest message first.
        assistant: The role of answers.
        user: The role of who asks: that a tool has answered tells nothing of what the user thinks.
    """
    if not messages:
        return None, None
    answers = [place for place, message in enumerate(messages) if message.role == assistant]
    before = messages[: answers[-1]] if answers and messages[-1].role == user else ()
    return _number(caller, messages), _number(caller, before) if before else None


def _number(caller: str, messages: Sequence[Message]) -> int:
    digest = blake2b(caller.encode(), digest_size=BITS // 8)
    for message in messages:
        text = message.text.encode("utf-8", "surrogatepass")
        digest.update(f"/{message.role}/{len(text)}/".encode() + text)
    return int.from_bytes(digest.digest(), "big")
