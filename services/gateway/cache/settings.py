"""Settings of the response cache."""

from dataclasses import dataclass

from services.chassis.config import Secrets, variable
from services.gateway.cipher import SHORTEST_SECRET
from services.gateway.config.plans import MOST_CACHE_S


@dataclass(frozen=True)
class Settings:
    """How long answers are cached, and how many bytes of them."""

    key: Secrets = variable(
        "LUMNI_CACHE_KEY",
        Secrets(""),
        "encrypts the answers that are cached, at least 32 characters; without it none are cached; those under "
        "another one are not found",
    )
    ttl_s: int = variable(
        "LUMNI_CACHE_TTL_S",
        3600,
        "seconds for which cached answers are given again, where a plan says nothing",
    )
    wait_s: float = variable(
        "LUMNI_CACHE_WAIT_S", 60.0, "how long a request waits for an equal one that is under way, in seconds"
    )
    answer_kib: int = variable("LUMNI_CACHE_ANSWER_KIB", 256, "longest answer that is cached, in KiB")
    tenant_mib: int = variable("LUMNI_CACHE_TENANT_MIB", 16, "what one tenant's answers may take, in MiB")
    total_mib: int = variable("LUMNI_CACHE_MIB", 128, "what all cached answers may take in Redis, in MiB")
    semantic: bool = variable(
        "LUMNI_CACHE_SEMANTIC",
        default=False,
        doc="answer questions that only say the same as an earlier one, for plans with semantic_cache",
    )

    def __post_init__(self) -> None:
        if any(len(one.reveal()) < SHORTEST_SECRET for one in self.key.accepted):
            raise ValueError(f"LUMNI_CACHE_KEY: expected at least {SHORTEST_SECRET} characters")
        if self.semantic and not self.key:
            raise ValueError(
                "LUMNI_CACHE_SEMANTIC: set LUMNI_CACHE_KEY as well, as without it no answers are cached"
            )
        if not 0 <= self.ttl_s <= MOST_CACHE_S:
            raise ValueError(f"LUMNI_CACHE_TTL_S: expected 0 to {MOST_CACHE_S}")
        if self.wait_s < 0:
            raise ValueError("LUMNI_CACHE_WAIT_S: expected 0 or more")
        if not 1 <= self.answer_kib <= 1024 * self.tenant_mib:
            raise ValueError(
                "LUMNI_CACHE_ANSWER_KIB: expected at least 1, and no more than LUMNI_CACHE_TENANT_MIB"
            )
        if self.tenant_mib > self.total_mib:
            raise ValueError("LUMNI_CACHE_TENANT_MIB: expected no more than LUMNI_CACHE_MIB")
