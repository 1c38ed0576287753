"""What can be called: deployments, and the fleet that they make up.

A deployment is one provider endpoint and key for one model. `services.chassis.litellm_config` reads them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.chassis.prices import Price

# A deployment's limits: requests and tokens, per minute and per day.
LIMITS = ("rpm", "tpm", "rpd", "tpd")
# How long an answer is taken to be where neither the request nor the model caps it, in tokens.
UNCAPPED_TOKENS = 4096
_REFERENCE = re.compile(r"^(?:os\.environ|env)/(\w+)$")


@dataclass(frozen=True, slots=True)
class FreeQuota:
    """What a provider gives for nothing; 0 is no limit of that kind."""

    rpm: int = 0
    tpm: int = 0
    rpd: int = 0
    tpd: int = 0
    # The time zone whose midnight begins a new day.
    reset: str = "UTC"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One provider endpoint and key for one model. References are names of environment variables, never values."""

    id: str
    model: str
    provider: str
    litellm_model: str
    price: Price
    # The place of its entry in the file's model_list, from 0; a wildcard's entry is that of many.
    entry: int = 0
    mode: str = "chat"
    api_base: str = ""
    api_base_ref: str = ""
    key_ref: str = ""
    # True when the file holds the key itself: the executor warns, and reads it from there.
    key_in_file: bool = False
    # 0 is no limit.
    rpm: int = 0
    tpm: int = 0
    max_parallel_requests: int = 0
    order: int = 0
    weight: float = 1.0
    timeout_s: float = 0.0
    stream_timeout_s: float = 0.0
    # How often a call may be repeated there; None is as often as anywhere else.
    num_retries: int | None = None
    region: str = ""
    context_window: int = 0
    max_output_tokens: int = 0
    capabilities: frozenset[str] = frozenset()
    access_groups: tuple[str, ...] = ()
    free_quota: FreeQuota | None = None
    priority: float = 0.5
    proxies: tuple[str, ...] = ()
    proxy_interval_s: float = 60.0
    # Whether it is sent the traceparent of the call, to continue the trace; for servers of the operator's own.
    send_traceparent: bool = False
    base_model: str = ""
    # The paths that its API is known to serve beside chat completions, in LiteLLM's spelling.
    endpoints: tuple[str, ...] = ()
    # The remaining litellm_params, still with their references to environment variables.
    params: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def free(self) -> bool:
        """Whether calls cost nothing: its price is 0, or its provider gives a quota away."""
        return self.price.free or self.free_quota is not None

    @property
    def weights(self) -> str:
        """The name of the model's weights, wherever they run: without a provider, and in lower case."""
        return (self.base_model or self.litellm_model).rpartition("/")[2].lower()

    @property
    def longest_answer(self) -> int:
        """The most tokens of an answer without a cap, as far as it is known."""
        return self.max_output_tokens or self.context_window or UNCAPPED_TOKENS


@dataclass(frozen=True, slots=True)
class Fleet:
    """All deployments, and how they stand in for each other; the defaults are those of an empty file."""

    deployments: tuple[Deployment, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    context_window_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    content_policy_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_fallbacks: tuple[str, ...] = ()
    routing_strategy: str = "simple-shuffle"
    num_retries: int = 2
    timeout_s: float = 120.0
    allowed_fails: int = 3
    cooldown_s: float = 30.0
    warnings: tuple[str, ...] = ()

    def by_model(self) -> dict[str, list[Deployment]]:
        """Deployments by their public model name, in the file's order."""
        groups: dict[str, list[Deployment]] = {}
        for deployment in self.deployments:
            groups.setdefault(deployment.model, []).append(deployment)
        return groups


def reference(value: object) -> str:
    """The environment variable that `os.environ/NAME` or `env/NAME` refers to; empty for anything else."""
    found = _REFERENCE.match(value) if isinstance(value, str) else None
    return found[1] if found else ""
