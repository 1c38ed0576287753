"""What the simulator saw: requests, tokens and endings, exact because one loop does all the counting."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

# Bodies beyond this are not kept, only their size: a thousand of them must not fill the memory.
KEPT_BODY = 64 * 1024


class Outcome(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    BROKEN = "broken"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a provider would bill. Cached, written and reasoning tokens lie within the totals."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    # What is billed in place of tokens.
    images: int = 0
    characters: int = 0
    audio_ms: int = 0


@dataclass(slots=True)
class Entry:
    """One request, from its arrival to its one outcome."""

    number: int
    model: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    behaviour: str
    began: float = field(default_factory=time.time)
    status: int = 0
    outcome: Outcome | None = None
    ended: float = 0
    tokens: Tokens = field(default_factory=Tokens)
    size: int = 0

    def __post_init__(self) -> None:
        self.size = len(self.body)
        if self.size > KEPT_BODY:
            self.body = b""

    def shown(self) -> dict[str, Any]:
        """The entry as JSON."""
        body: Any = None
        if self.body:
            try:
                body = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                body = self.body.decode("utf-8", "replace")
        return {
            "number": self.number,
            "model": self.model,
            "method": self.method,
            "path": self.path,
            "headers": dict(self.headers),
            "body": body,
            "body_bytes": self.size,
            "behaviour": self.behaviour,
            "status": self.status,
            "outcome": self.outcome,
            "began_unix_ms": round(self.began * 1000),
            "duration_ms": round((self.ended - self.began) * 1000, 3) if self.outcome else None,
            **{name: getattr(self.tokens, name) for name in Tokens.__slots__},
        }


class Counts:
    """All that was seen since the last reset."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.reset()

    def reset(self) -> None:
        """Forget everything; requests that are under way will not be counted."""
        self.requests = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self._seen: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._sums: dict[tuple[str, Outcome], Counter[str]] = {}
        self._entries: deque[Entry] = deque(maxlen=self._keep)
        self._open: set[int] = set()

    def begin(self, entry: Entry) -> None:
        """A request is whole."""
        self.requests += 1
        entry.number = self.requests
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self._open.add(id(entry))
        self._entries.append(entry)

    def seen(self, model: str) -> int:
        """How many requests for a model came before this one, which is counted by asking."""
        self._seen[model] += 1
        return self._seen[model] - 1

    def finish(self, entry: Entry, outcome: Outcome, tokens: Tokens) -> None:
        """Count a request once; what ends it first decides how."""
        if entry.outcome is not None:
            return
        entry.outcome, entry.tokens, entry.ended = outcome, tokens, time.time()
        if id(entry) not in self._open:
            return
        self._open.discard(id(entry))
        self.in_flight -= 1
        self._statuses[entry.status] += 1
        sums = self._sums.setdefault((entry.model, outcome), Counter())
        sums["requests"] += 1
        for name in Tokens.__slots__:
            sums[name] += getattr(tokens, name)

    def shown(self) -> dict[str, Any]:
        """The counts as JSON; status 0 is a request that got no head."""
        models: dict[str, dict[str, dict[str, int]]] = {}
        totals: dict[str, Counter[str]] = {}
        for (model, outcome), sums in self._sums.items():
            models.setdefault(model, {})[outcome.value] = dict(sums)
            totals.setdefault(outcome.value, Counter()).update(sums)
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "closed_early": totals.get(Outcome.ABANDONED, Counter())["requests"],
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "outcomes": {outcome: dict(sums) for outcome, sums in totals.items()},
            "models": models,
        }

    def last(self, count: int) -> list[dict[str, Any]]:
        """The last requests, oldest first."""
        return [entry.shown() for entry in list(self._entries)[-count:]]
