"""How candidates are ranked: the strategies that a plan, a request and the selector's options may name."""

__all__ = ["DEFAULT", "STRATEGIES"]

STRATEGIES = ("balanced", "quality", "cost", "latency", "free_first")
DEFAULT = "balanced"
