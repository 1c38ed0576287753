"""Texts without what should never be written down: keys, tokens, passwords, e-mail addresses, numbers of cards."""

import re
from typing import Any

HIDDEN = "[redacted]"
# Fields whose value is hidden whatever it is.
SECRET_FIELD = re.compile(
    r"^(?:authorization|cookie|pass(?:word|wd|phrase)?|.*(?:api[_-]?key|secret|private[_-]?key|access[_-]?token))$",
    re.IGNORECASE,
)
# Each is linear in the text: what repeats is bounded, or begins where nothing alike stands before it.
PATTERNS = tuple(
    re.compile(one)
    for one in (
        # Keys of ours, of OpenAI, Anthropic, Stripe, Portkey; of GitHub, Slack, Google, AWS.
        r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,256}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,255}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,255}",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}",
        r"\bAIza[A-Za-z0-9_-]{30,60}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        # JSON web tokens, and what follows a scheme of HTTP.
        r"\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{0,1024}",
        r"(?i:\b(?:bearer|basic) )[A-Za-z0-9._~+/=-]{12,4096}",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,16384}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
        # E-mail addresses, with the lengths that mail allows to their hosts.
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}",
    )
)
# 13 to 19 digits, in groups perhaps; the check digit tells cards from other numbers.
CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])")


def text(found: str) -> str:
    """A text with what looks like a secret or a person's hidden."""
    for pattern in PATTERNS:
        found = pattern.sub(HIDDEN, found)
    return CARD.sub(lambda match: HIDDEN if _is_card(match[0]) else match[0], found)


def value(found: Any) -> Any:
    """A JSON value with every text redacted, and fields that hold secrets hidden."""
    if isinstance(found, str):
        return text(found)
    if isinstance(found, list):
        return [value(one) for one in found]
    if isinstance(found, dict):
        return {
            name: HIDDEN if isinstance(one, str) and SECRET_FIELD.match(name) else value(one)
            for name, one in found.items()
        }
    return found


def _is_card(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (Luhn)."""
    numbers = [int(one) for one in reversed(digits) if one.isdigit()]
    doubled = (sum(divmod(2 * one, 10)) for one in numbers[1::2])
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0
