"""What a request would have cost without routing: at the most powerful model that was allowed, or at the cheapest."""

from collections.abc import Iterable

from lumni.selector.v1 import selector_pb2

TOKENS_PER_PRICE = 1_000_000


def most_powerful(candidates: Iterable[selector_pb2.Candidate]) -> selector_pb2.Candidate:
    """The best of the models that were allowed: the one that is called where nothing is routed."""
    return max(
        candidates,
        key=lambda one: (one.quality, one.output_nano_usd_per_mtok, one.input_nano_usd_per_mtok),
        default=selector_pb2.Candidate(),
    )


def cheapest(candidates: Iterable[selector_pb2.Candidate]) -> selector_pb2.Candidate:
    """The cheapest of the models that were allowed, by the most that one attempt may cost."""
    return min(
        (one for one in candidates if not one.unpriced),
        key=lambda one: (one.max_cost_nano_usd, one.output_nano_usd_per_mtok, one.input_nano_usd_per_mtok),
        default=selector_pb2.Candidate(),
    )


def cost_at(model: selector_pb2.Candidate, prompt_tokens: int, completion_tokens: int) -> int:
    """What so many tokens cost at a model, in nano-USD."""
    exact = model.input_nano_usd_per_mtok * prompt_tokens + model.output_nano_usd_per_mtok * completion_tokens
    return round(exact / TOKENS_PER_PRICE)
