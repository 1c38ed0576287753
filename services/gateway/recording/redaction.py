"""Texts without what should never be written down: keys, tokens, passwords, e-mail addresses, numbers of cards."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

HIDDEN = "[redacted]"
_NAMES = (
    "authorization|cookie|pass(?:word|wd|phrase)?|"
    "{before}(?:api[_-]?key|secret|private[_-]?key|access[_-]?token)"
)
# Fields whose value is hidden whatever it is.
SECRET_FIELD = re.compile(f"^(?:{_NAMES.format(before='.*')})$", re.IGNORECASE)


class Rule(NamedTuple):
    """What is hidden.

    Attributes:
        marks: In lower case: a text has one of them wherever the pattern matches, and is much faster searched for them.
        pattern: Linear in the text: what repeats is bounded, or begins where nothing alike stands before it.
        hidden: What takes the place of a match.
    """

    marks: tuple[str, ...]
    pattern: re.Pattern[str]
    hidden: str | Callable[[re.Match[str]], str] = HIDDEN


def _secret_field(level: int) -> Rule:
    """A field in a text that is JSON, and was written as a string `level` times over, so that its quotes are escaped.

    An escaped character of the value, such as a quote, has twice as many backslashes as the text has levels of strings.
    """
    escape = 2**level
    quote = "\\" * (escape - 1) + '"'
    written = re.escape(quote)
    names = _NAMES.format(before="[a-z0-9_-]{0,64}")
    # `re` is quick to find the first quote where the pattern begins with it.
    name = rf"{written}(?<!\\{written})(?:{names}){written}\s{{0,8}}:\s{{0,8}}{written}"
    escaped = rf'\\{{1,{escape}}}[^"\\]|\\{{{2 * escape - 1}}}"|\\{{{2 * escape}}}'
    return Rule(
        (quote,) if level else ("authorization", "cookie", "pass", "key", "secret", "token"),
        re.compile(rf'({name})(?:[^"\\]|{escaped})+', re.IGNORECASE),
        rf"\g<1>{HIDDEN}",
    )


def _hidden_card(match: re.Match[str]) -> str:
    return HIDDEN if _is_card(match[0]) else match[0]


# What may hold spaces and lines.
LONG_RULES = (
    Rule(
        ("private key-----",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,16384}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
        ),
    ),
    # A tool's arguments, and those within a conversation that is a text itself.
    *(_secret_field(level) for level in range(3)),
)
# What lies within a line, and has no spaces but after a scheme and between groups of digits.
SHORT_RULES = (
    # Keys of ours, of OpenAI, Anthropic, Stripe, Portkey; of GitHub, Slack, Google, AWS.
    Rule(("sk-", "sk_", "pk-", "pk_", "rk-", "rk_"), re.compile(r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,256}")),
    Rule(("gh",), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,255}")),
    Rule(("github_pat_",), re.compile(r"\bgithub_pat_[A-Za-z0-9_]{20,255}")),
    Rule(("xox",), re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}")),
    Rule(("aiza",), re.compile(r"\bAIza[A-Za-z0-9_-]{30,60}")),
    Rule(("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    # JSON web tokens, and what follows a scheme of HTTP.
    Rule(("eyj",), re.compile(r"\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{0,1024}")),
    Rule(("bearer ", "basic "), re.compile(r"(?i:\b(?:bearer|basic) )[A-Za-z0-9._~+/=-]{12,4096}")),
    # E-mail addresses, with the lengths that mail allows to their hosts.
    Rule(
        ("@",),
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
        ),
    ),
    # 13 to 19 digits, in groups perhaps; the check digit tells cards from other numbers. `re` is quick to find the
    # first digit where the pattern begins with it.
    Rule(
        ("",),
        re.compile(r"[0-9](?<![0-9.][0-9])(?:[ -]?[0-9]){12,18}(?![0-9.])"),
        _hidden_card,
    ),
)
# A piece of a long text, in characters: a pattern holds the interpreter to the end of its text, here for a millisecond.
PIECE = 16 * 1024
# Where a text is cut: no match of a short rule has a line's end or another script in it, nor a space but for these.
END = re.compile(r"\n|[^\x00-\x7f]|(?<![0-9])(?<!bearer)(?<!basic) ", re.IGNORECASE)
# Files within texts hold nothing that a pattern would find; from so many characters on that is looked at.
FILE = re.compile(r"(?:data:[A-Za-z0-9/+.;=-]{0,128},)?[A-Za-z0-9+/]*+={0,2}")
SHORTEST_FILE = 1024


def text(found: str) -> str:
    """A text with what looks like a secret or a person's hidden."""
    if len(found) >= SHORTEST_FILE and FILE.fullmatch(found):
        return found
    return "".join(_redacted(piece, SHORT_RULES) for piece in _pieces(_redacted(found, LONG_RULES)))


def value(found: Any) -> Any:
    """A JSON value with every text redacted, and all that fields of secrets hold hidden."""
    if isinstance(found, str):
        return text(found)
    if isinstance(found, list):
        return [value(one) for one in found]
    if isinstance(found, dict):
        return {
            name: HIDDEN if SECRET_FIELD.match(name) and _may_be_secret(one) else value(one)
            for name, one in found.items()
        }
    return found


def _may_be_secret(found: Any) -> bool:
    return found is not None and not isinstance(found, bool)


def _redacted(found: str, rules: tuple[Rule, ...]) -> str:
    lowered = found.lower()
    for rule in rules:
        if any(mark in lowered for mark in rule.marks):
            found = rule.pattern.sub(rule.hidden, found)
    return found


def _pieces(found: str) -> Iterator[str]:
    """The text, cut where nothing that is hidden can be cut in two."""
    start = 0
    while len(found) - start > PIECE and (end := END.search(found, start + PIECE)):
        yield found[start : end.end()]
        start = end.end()
    yield found[start:]


def _is_card(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (Luhn)."""
    numbers = [int(one) for one in reversed(digits) if one.isdigit()]
    doubled = (sum(divmod(2 * one, 10)) for one in numbers[1::2])
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0
