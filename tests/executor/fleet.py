"""Deployments on the simulator."""

from typing import Any

from services.chassis.deployments import Deployment
from services.chassis.prices import Price, Row, rates_of

CHEAP = Price((Row("", 0, rates_of({"input": 1_000_000, "output": 4_000_000})),))
# Where each provider's own address would be below the simulator's.
BASES = {
    "anthropic": "",
    "gemini": "/v1beta",
    "groq": "/openai/v1",
    "openrouter": "/api/v1",
    "deepseek": "/beta",
}


def deployment(simulator_url: str, provider: str = "openai", model: str = "model", **more: Any) -> Deployment:
    """A deployment of `provider` whose address is the simulator's."""
    return Deployment(
        **{
            "id": f"public@{provider}",
            "model": "public",
            "provider": provider,
            "litellm_model": model,
            "price": CHEAP,
            "api_base": simulator_url + BASES.get(provider, "/v1"),
            "key_ref": "SIM_KEY",
            **more,
        }
    )
