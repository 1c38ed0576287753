"""The words, numbers and signs of a question, without the signs that only divide its sentences."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.cache.semantic.wording import BREAK

# What is quoted; a single mark closes at the end of a word.
_QUOTED = re.compile(
    r"\"[^\"]*\"|“[^”]*”|„[^”“]*[”“]|«[^»]*»|「[^」]*」|『[^』]*』|(?<!\w)['‘][^'’]+(?:['’]\w[^'’]*)*['’](?!\w)"
)
# Stands for a quotation while the rest is read.
_QUOTATION = re.compile("\x00(\\d+)\x00")
# What follows the first colon or line is what something is to be done with.
_PAYLOAD = re.compile(r":\s+|：\s*|\n+")
_SENTENCE_END = re.compile(r"(?<=[.!?…؟;।])\s+|(?<=[。！？])\s*")
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
# Vowel signs and accents that are characters of their own; Python counts them to no word.
_MARKS = "\u0300-\u036f\u064b-\u0652\u0900-\u0903\u093a-\u094f"
_TOKEN = re.compile(
    rf"\x00(?P<quoted>\d+)\x00|(?P<number>\d+(?:[.,:]\d+)*)|(?P<unspaced>[{_UNSPACED}])"
    rf"|(?P<word>(?:[^\W\d_{_UNSPACED}][{_MARKS}]*)+(?:'[^\W\d_]+)*)|(?P<sign>\S)"
)
_APOSTROPHE = re.compile("[’ʼ`´]")
# Signs that say nothing, unless they join what stands on both sides of them: list.append, 6:30.
_BREAKS = frozenset(",;:、，；：،–—")
_MARKS_OF_SENTENCES = frozenset(".!?…¿¡()\"'“”„«»。！？।؟")
_HYPHEN = "-"
# Of words so short capitals may tell: MB and Mb.
SHORT = 3


@dataclass(frozen=True, slots=True)
class Question:
    """A question: its sentences, each as its tokens, and what follows its first colon or line as it stands."""

    sentences: tuple[tuple[str, ...], ...]
    payload: str


def divided(text: str, *, folded: bool) -> Question:
    """Take a question apart.

    A quotation is one token, and what divides a sentence is BREAK. Words come in small letters, but for short ones that
    do not begin a sentence.

    Args:
        text: The question.
        folded: Put short words and quotations in small letters, too, except for units.
    """
    quotations: list[str] = []

    def put_aside(found: re.Match[str]) -> str:
        quotations.append(found[0][1:-1])
        return f"\x00{len(quotations) - 1}\x00"

    def restored(found: re.Match[str]) -> str:
        return f'"{quotations[int(found[1])]}"'

    text = _QUOTED.sub(put_aside, _APOSTROPHE.sub("'", text.replace("\x00", " ")))
    found = _PAYLOAD.search(text)
    head, payload = (text, "") if found is None else (text[: found.start()], text[found.end() :])
    payload = _QUOTATION.sub(restored, payload).strip().removesuffix(".")
    sentences = (_tokens(sentence, quotations, folded=folded) for sentence in _SENTENCE_END.split(head))
    return Question(
        tuple(sentence for sentence in sentences if sentence), payload.casefold() if folded else payload
    )


def _tokens(sentence: str, quotations: Sequence[str], *, folded: bool) -> tuple[str, ...]:
    found: list[re.Match[str] | None] = [None, *_TOKEN.finditer(sentence), None]
    tokens: list[str] = []
    for before, token, after in zip(found, found[1:], found[2:], strict=False):
        if token is None:
            continue
        text = token[0]
        if token["quoted"]:
            quoted = quotations[int(token["quoted"])]
            tokens.append(f'"{quoted.casefold() if folded else quoted}"')
        elif token["word"]:
            unit = before is not None and before["number"] is not None
            begins = text == "I" or text.startswith("I'") or (before is None and not text[1:].isupper())
            told_by_case = len(text) <= SHORT and (unit or not folded) and not begins
            tokens.append(text if told_by_case else text.casefold())
        elif token["sign"] and _says_nothing(token, before, after):
            if text in _BREAKS or (
                text == _HYPHEN and token.start() > 0 and sentence[token.start() - 1].isspace()
            ):
                tokens.append(BREAK)
        else:
            tokens.append(text)
    return tuple(tokens)


def _says_nothing(sign: re.Match[str], before: re.Match[str] | None, after: re.Match[str] | None) -> bool:
    """Whether a sign may be left out: it divides words, and is no part of a number, a formula or an option."""
    text = sign[0]
    if text == _HYPHEN:
        if before is None or after is None or not after["word"] or len(after[0]) == 1:
            return False
        named = before["number"] or (before["word"] and len(before[0]) > 1)
        # Not as in rm -r.
        return bool(named) and (before.end() == sign.start()) == (sign.end() == after.start())
    if text == "!":
        # No factorial.
        return before is None or not before["number"]
    if text in ".,:" and before is not None and after is not None:
        joined = before.end() == sign.start() and sign.end() == after.start()
        return not (joined and (before["word"] or before["number"]) and (after["word"] or after["number"]))
    return text in _BREAKS or text in _MARKS_OF_SENTENCES
