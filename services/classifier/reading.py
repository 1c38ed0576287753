"""What is read of a conversation: a bounded part of it, and honest lengths of the rest.

Everything after this is a pure function of a Reading, so its digest is the key of the cache, and a 5 MB message
costs no more than a short one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

# Characters read of the question for features; the same number of the beginning and of the end.
HALF_READ = 1000
# A question shorter than this is read together with the user's turns before it ("and now in French").
SHORT = 160
# At most this many turns need be looked at one by one: the first and the latest.
TURNS_READ = 64
# Prompts above this many tokens need a model with a long context window.
LONG_CONTEXT_TOKENS = 16_000
# Characters looked at, at each end of a text, to guess how many characters make a token.
SAMPLE = 2000

# Characters a token, of text in ASCII, and what a character beyond ASCII costs by its range.
ASCII_PER_TOKEN = 4.0
WIDE_FROM = "\u2e80"  # Chinese, Japanese, Korean: nearly a token each
WIDE_TOKENS = 0.8
OTHER_TOKENS = 0.4
# What chat templates add to every turn.
TURN_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    text: str
    has_image: bool = False
    has_audio: bool = False
    has_file: bool = False
    omitted_chars: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """The part of a conversation that is judged.

    Attributes:
        question: The user's last words, shortened in the middle.
        question_chars: How long they are in full.
        turns: How many turns the user had.
        history_chars: How long everything but the question is.
        system_chars: How long the instructions are.
        tools: How many functions may be called.
        structured: Whether the answer must be JSON.
        attachments: How many turns carry an image, sound or a file.
        prompt_tokens: About how many tokens the whole prompt has.
        truncated: Whether something of the question went unread.
    """

    question: str
    question_chars: int
    turns: int
    history_chars: int
    system_chars: int
    tools: int
    structured: bool
    attachments: int
    prompt_tokens: int
    truncated: bool

    @property
    def long_context(self) -> bool:
        """Whether the prompt needs a model with a long context window."""
        return self.prompt_tokens > LONG_CONTEXT_TOKENS

    def digest(self) -> bytes:
        """A key that differs whenever the judgement could."""
        facts = (
            self.question_chars,
            self.turns,
            self.history_chars,
            self.system_chars,
            self.tools,
            self.structured,
            self.attachments,
            self.prompt_tokens,
            self.truncated,
        )
        state = blake2b(repr(facts).encode(), digest_size=16)
        state.update(self.question.encode("utf-8", "surrogatepass"))
        return state.digest()


def shorten(text: str, half: int) -> str:
    """The first and the last `half` characters of a text, or all of it when it is not longer."""
    return text if len(text) <= 2 * half else f"{text[:half]}\n{text[-half:]}"


def tokens(text: str) -> float:
    """About how many tokens a text has; long texts are judged by a sample of both ends."""
    if text.isascii():
        return len(text) / ASCII_PER_TOKEN
    sample = shorten(text, SAMPLE)
    wide = sum(char >= WIDE_FROM for char in sample)
    beyond = len(sample) - len(sample.encode("ascii", "ignore"))
    estimate = (len(sample) - beyond) / ASCII_PER_TOKEN + wide * WIDE_TOKENS + (beyond - wide) * OTHER_TOKENS
    return estimate * len(text) / len(sample)


def read(
    turns: Sequence[Turn],
    tools: int = 0,
    *,
    structured: bool = False,
    unread_turns: int = 0,
    unread_chars: int = 0,
) -> Reading:
    """Read a conversation, oldest turn first.

    The question is what the user said last; a short one is read together with what the user said before. A
    conversation without a user is judged by its last turn. Turns in the middle that the caller did not unpack count
    by their number, half of them the user's, and their length.
    """
    asked = [turn for turn in turns if turn.role == "user"] or list(turns[-1:])
    text, chars, omitted = "", 0, 0
    for turn in reversed(asked):
        text = f"{turn.text}\n{text}" if text else turn.text
        chars += len(turn.text) + turn.omitted_chars
        omitted += turn.omitted_chars
        if len(text) >= SHORT:
            break
    total = system = attachments = users = 0
    estimate = unread_chars / ASCII_PER_TOKEN
    for turn in turns:
        length = len(turn.text) + turn.omitted_chars
        total += length
        system += length if turn.role in ("system", "developer") else 0
        users += turn.role == "user"
        attachments += turn.has_image or turn.has_audio or turn.has_file
        estimate += tokens(turn.text) + turn.omitted_chars / ASCII_PER_TOKEN
    return Reading(
        question=shorten(text, HALF_READ),
        question_chars=chars,
        turns=users + unread_turns // 2,
        history_chars=max(0, total - chars - system) + unread_chars,
        system_chars=system,
        tools=tools,
        structured=structured,
        attachments=attachments,
        prompt_tokens=round(estimate) + TURN_TOKENS * (len(turns) + unread_turns),
        truncated=omitted > 0 or len(text) > 2 * HALF_READ,
    )
