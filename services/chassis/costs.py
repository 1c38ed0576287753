"""What an attempt consumed and what it cost, part by part."""

from dataclasses import dataclass
from typing import Protocol

MTOK = 1_000_000


class Usage(Protocol):
    """Tokens of one attempt, as lumni.executor.v1.Usage counts them: the parts lie within the totals."""

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def cache_write_tokens(self) -> int: ...
    @property
    def cache_write_1h_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def audio_prompt_tokens(self) -> int: ...
    @property
    def audio_completion_tokens(self) -> int: ...
    @property
    def image_completion_tokens(self) -> int: ...
    @property
    def web_searches(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Cost:
    """What an attempt cost, in nano-USD; no part is in another one.

    Args:
        input: The prompt, what was written to the provider's cache included.
        cached: The part of the prompt that was read from the provider's cache.
        output: The answer, reasoning included.
        fees: What the provider bills beside tokens: for the request, for searches of the web, and for pictures,
            characters and seconds.

    """

    input: int
    cached: int
    output: int
    fees: int

    @property
    def total(self) -> int:
        """All parts together."""
        return self.input + self.cached + self.output + self.fees


def rounded(*, input: int, cached: int, output: int, fees: int) -> Cost:  # noqa: A002 (the word of all rates)
    """The cost of tokens that were multiplied by their rates for a million of them.

    The sum of the tokens is rounded once, half up; the parts are rounded so that they add up to it.

    Args:
        input: In nano-USD times a million, as the two that follow.
        cached: As input.
        output: As input.
        fees: In nano-USD.
    """
    to_input, to_cached, to_output = (
        (sum_so_far + MTOK // 2) // MTOK for sum_so_far in (input, input + cached, input + cached + output)
    )
    return Cost(to_input, to_cached - to_input, to_output - to_cached, fees)
