"""How a request is to be answered, spelled in a few words: `429-retry-2`, `tokens-50-drip-20`, `cut-3-first-1`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

_IN_A_NAME = re.compile(r"(?:^|[^a-z0-9])sim-(.+)$")
STATUSES = frozenset((400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529))


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What to do with one request. Times are milliseconds, positions count streamed pieces (or eighths of a body)."""

    # What the answer holds.
    tokens: int = 16
    reasoning: int | None = None
    think: int = 0
    cached: int = 0
    write: int = 0
    searches: int = 0
    usage: bool = True
    filtered: bool = False
    window: int | None = None
    limit: int | None = None
    # When it comes.
    slow: float = 0
    wait: float = 0
    drip: float = 0
    burst: bool = False
    split: bool = False
    crlf: bool = False
    ping: bool = False
    spaced: bool = False
    # What goes wrong.
    status: int = 0
    kind: str = ""
    retry: float | None = None
    silence: str = ""
    body: str = ""
    cut: int | None = None
    end: int | None = None
    stall: int | None = None
    error: int | None = None
    # For how long it goes wrong.
    first: int | None = None
    every: int = 1

    def calm(self) -> "Behaviour":
        """The same without what goes wrong."""
        return replace(
            self,
            status=0,
            kind="",
            retry=None,
            silence="",
            body="",
            cut=None,
            end=None,
            stall=None,
            error=None,
        )

    def at(self, seen: int) -> "Behaviour":
        """The behaviour for the request before which `seen` others were for the same model."""
        faulty = (self.first is None or seen < self.first) and seen % self.every == 0
        return self if faulty else self.calm()


# Word -> (field, value when the word stands alone); with None a number must follow.
WORDS: Mapping[str, tuple[str, Any]] = {
    "tokens": ("tokens", None),  # length of the answer
    "reasoning": ("reasoning", None),  # hidden tokens of thought
    "think": ("think", None),  # thoughts that are shown, in tokens
    "cached": ("cached", None),  # prompt tokens read from the provider's cache
    "write": ("write", None),  # prompt tokens written to it (Anthropic)
    "searches": ("searches", None),  # searches of the web, as far as the request allows them (Anthropic)
    "nousage": ("usage", False),  # the tokens are not reported
    "filtered": ("filtered", True),  # the answer ends with the content filter's reason
    "window": ("window", None),  # a longer prompt is a context-length error
    "limit": ("limit", None),  # requests until 429, shown in the rate limit headers
    "slow": ("slow", None),  # ms before the head
    "wait": ("wait", None),  # ms between head and first piece
    "drip": ("drip", None),  # ms between pieces
    "burst": ("burst", True),  # all pieces in one write
    "split": ("split", True),  # every piece in two writes, cut in the middle of a line
    "crlf": ("crlf", True),  # events end their lines with CR LF
    "ping": ("ping", True),  # a comment before every event
    "spaced": ("spaced", True),  # a space after every colon between a name and its value
    "context": ("kind", "context"),  # the context-length error
    "policy": ("kind", "policy"),  # the content-policy error
    "quota": ("kind", "quota"),  # 429 because the account is empty
    "retry": ("retry", None),  # seconds of retry-after
    "hang": ("silence", "hang"),  # never a byte
    "drop": ("silence", "drop"),  # the connection is closed without a byte
    "reset": ("silence", "reset"),  # the connection is reset without a byte
    "malformed": ("body", "malformed"),  # JSON that ends too early
    "html": ("body", "html"),  # a page of HTML, with the status or 200
    "empty": ("body", "empty"),  # a body without a byte
    "done": ("body", "done"),  # a stream of nothing but [DONE]
    "firsterror": ("body", "firsterror"),  # 200, and an error as first chunk or as body
    "cut": ("cut", None),  # the connection is closed after so many pieces
    "end": ("end", None),  # the stream ends cleanly after so many pieces, without its last events
    "stall": ("stall", None),  # silence after so many pieces
    "error": ("error", None),  # an error event after so many pieces
    "first": ("first", None),  # only the first so many requests go wrong
    "every": ("every", None),  # only every so-manieth request goes wrong
}
_WHOLE = frozenset(("tokens", "reasoning", "think", "cached", "write", "searches", "window", "limit"))
_POSITIONS = frozenset(("cut", "end", "stall", "error", "first", "every"))


@lru_cache(4096)
def of_model(name: str) -> Behaviour:
    """The behaviour that a model's name asks for; a name without `sim-` asks for nothing."""
    found = _IN_A_NAME.search(name.lower())
    return parse(found[1]) if found else Behaviour()


@lru_cache(4096)
def parse(text: str) -> Behaviour:
    """Read words joined by hyphens; a word that means nothing is part of a name."""
    given: dict[str, Any] = {}
    words = text.lower().split("-")
    for at, word in enumerate(words):
        number = _number(words[at + 1]) if at + 1 < len(words) else None
        counted = at > 0 and words[at - 1] in WORDS and WORDS[words[at - 1]][1] is None
        if word.isdigit() and int(word) in STATUSES and not counted:
            given["status"] = int(word)
        elif word in WORDS:
            name, alone = WORDS[word]
            if alone is not None:
                given[name] = alone
            elif number is not None:
                given[name] = int(number) if name in _WHOLE | _POSITIONS else number
    return Behaviour(**given)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
