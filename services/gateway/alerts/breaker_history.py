"""How the deployments' circuit breakers fared of late, as it was seen in each look."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

# The changes of a breaker that are remembered, the newest of them.
MOST_CHANGES = 1000


class BreakerHistory:
    """Knows since when each breaker is open, and how often it has changed; times are of the monotonic clock."""

    def __init__(self, providers: Mapping[str, str]) -> None:
        """Know the provider of each deployment, by its id."""
        self._providers = providers
        # Since when each breaker is open; None while it is closed. Only of deployments that can be called.
        self._open_since: dict[str, float | None] = {}
        self._changes: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MOST_CHANGES))

    def name_providers(self, providers: Mapping[str, str]) -> None:
        """Know other deployments, or other providers of them."""
        self._providers = providers

    def look(self, is_open: Mapping[str, bool], now: float) -> None:
        """Note whether the breaker of each deployment that can be called is open."""
        before = self._open_since
        for ident, state in is_open.items():
            if ident in before and (before[ident] is not None) != state:
                self._changes[ident].append(now)
        self._open_since = {
            ident: _first(before.get(ident), now) if state else None for ident, state in is_open.items()
        }

    def down(self, now: float, for_s: float) -> Sequence[str]:
        """The deployments whose breakers have been open for so long."""
        return [
            ident for ident, since in self._open_since.items() if since is not None and now - since >= for_s
        ]

    def providers_down(self, now: float, for_s: float) -> Sequence[str]:
        """The providers of which every deployment that can be called has been down for so long."""
        down = set(self.down(now, for_s))
        all_down: dict[str, bool] = {}
        for ident in self._open_since:
            if provider := self._providers.get(ident):
                all_down[provider] = all_down.get(provider, True) and ident in down
        return [provider for provider, every in all_down.items() if every]

    def flapping(self, now: float, within_s: float, more_than: int) -> Sequence[str]:
        """The deployments whose breakers opened or closed more often than that within the time."""
        for ident, changes in list(self._changes.items()):
            while changes and changes[0] < now - within_s:
                changes.popleft()
            if not changes:
                del self._changes[ident]
        return [ident for ident, changes in self._changes.items() if len(changes) > more_than]


def _first(since: float | None, now: float) -> float:
    return now if since is None else since
