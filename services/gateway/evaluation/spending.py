"""The budget of one evaluation: nothing is asked that could cost more than what is left."""

from dataclasses import dataclass

from services.chassis.money import NANO

# What a provider puts around the messages, in tokens.
TEMPLATE_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model's tokens cost, in nano-USD per million."""

    input: int
    output: int

    def bound(self, prompt_bytes: int, answer_tokens: int) -> int:
        """The most that one call can cost, in nano-USD: no tokenizer makes more tokens than there are bytes."""
        tokens = (prompt_bytes + TEMPLATE_TOKENS) * self.input + answer_tokens * self.output
        return -(-tokens // 1_000_000)


class Spending:
    """What was spent, and what calls under way may still cost, in nano-USD."""

    def __init__(self, budget: int, spent: int = 0) -> None:
        self.budget = budget
        self.spent = spent
        self._held = 0

    @property
    def left(self) -> int:
        """What is neither spent nor held."""
        return self.budget - self.spent - self._held

    def hold(self, bound: int) -> bool:
        """Set the most that a call can cost aside; False where that is more than what is left."""
        if bound > self.left:
            return False
        self._held += bound
        return True

    def spend(self, cost: int) -> None:
        """A call has cost so much; it counts beside what is held for it until that is released."""
        self.spent += cost

    def release(self, bound: int) -> None:
        """No further call is made with what was set aside."""
        self._held -= bound

    def __str__(self) -> str:
        return f"{self.spent / NANO:.4f} of {self.budget / NANO:.2f} USD"
