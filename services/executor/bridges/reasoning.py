"""How hard a model shall think, as a chat completion says it."""

from typing import Any

from services.chassis.deployments import Deployment

# From so many tokens of thought on, each in OpenAI's word for it.
_EFFORTS = ((16_384, "high"), (4096, "medium"), (0, "low"))
# What the formats say beyond the words that all models know.
_NEAREST = {"xhigh": "high", "max": "high"}


def effort(budget_tokens: int) -> str:
    """The word for a number of tokens."""
    return next(word for tokens, word in _EFFORTS if budget_tokens >= tokens or not tokens)


def field(word: str, deployment: Deployment) -> dict[str, Any]:
    """The field of a chat; none for a model that is not known to reason, which would refuse it."""
    if "reasoning" not in deployment.capabilities:
        return {}
    return {"reasoning_effort": word if deployment.provider == "openai" else _NEAREST.get(word, word)}
