"""What remains of a deployment's quotas by its provider's own rate limit headers."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from services.executor.capacity.quotas import MINUTE_S, Headroom

# No provider's window is longer: a longer one is a mistake.
DAY_S = 86400.0
# As many digits as fit into the contract's 64 bits.
_COUNT = re.compile(r"[0-9]{1,15}")
# Begins where a number begins, so that a long run of digits is not read anew from each of them.
_SPAN = re.compile(r"(?<![\d.])([0-9]++(?:\.[0-9]++)?+)(ms|h|m|s|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# OpenAI's headers and Anthropic's, of which the first that is there counts; without a word for the span both count per
# minute.
_PATTERNS = (
    ("rpm", "x-ratelimit-{}-requests"),
    ("rpm", "anthropic-ratelimit-requests-{}"),
    ("tpm", "x-ratelimit-{}-tokens"),
    ("tpm", "anthropic-ratelimit-tokens-{}"),
    ("rpd", "x-ratelimit-{}-requests-day"),
    ("tpd", "x-ratelimit-{}-tokens-day"),
)
# (quota, the headers of its limit, of what remains, and of when it is whole again).
_HEADERS = tuple(
    (quota, *(pattern.format(word) for word in ("limit", "remaining", "reset")))
    for quota, pattern in _PATTERNS
)


def headroom(headers: Mapping[str, str], now_unix_s: float) -> list[Headroom]:
    """What remains by a provider's own headers: those of OpenAI and its likes, or of Anthropic."""
    found: dict[str, Headroom] = {}
    for quota, limit, remains, reset in _HEADERS:
        if limit not in headers or quota in found:
            continue
        total, remaining = headers[limit], headers.get(remains, "")
        if _COUNT.fullmatch(total) and _COUNT.fullmatch(remaining):
            resets = min(_resets(headers.get(reset, ""), now_unix_s), now_unix_s + DAY_S)
            found[quota] = Headroom(quota, int(total), int(remaining), resets, by_provider=True)
    return list(found.values())


def _resets(text: str, now_unix_s: float) -> float:
    spans = _SPAN.findall(text)
    if spans and "".join(number + unit for number, unit in spans) == text:
        return now_unix_s + sum(float(number) * _UNITS[unit] for number, unit in spans)
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not math.isfinite(number):
            return now_unix_s + MINUTE_S
        # OpenRouter gives milliseconds since 1970, some give seconds since then, most seconds to wait.
        return number / 1000 if number > 1e11 else number if number > 1e9 else now_unix_s + number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now_unix_s + MINUTE_S
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
