"""LiteLLM's wildcards: one entry of `model_list` that stands for every model that the price table names."""

import re
from collections.abc import Iterable, Iterator

from services.chassis import prices

__all__ = ["expand", "is_wildcard"]

# Providers whose models LiteLLM knows by their names alone.
_BARE = ("openai", "anthropic")


def is_wildcard(name: str) -> bool:
    """Whether a name stands for several."""
    return "*" in name


def expand(name: str, provider: str, model: str, providers: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Every deployment that an entry stands for: its public name, its provider and its model.

    Args:
        name: The entry's `model_name`, as in `openai/*`.
        provider: The provider that its `model` names; empty for `*`, which is every one of `providers`.
        model: The rest of its `model`, as in `*` or `gemini-*`.
        providers: Those that a `*` alone means.

    """
    if provider:
        for found in prices.listed_models(provider):
            if (texts := _matched(model, found)) is not None:
                yield _filled(name, texts), provider, found
        return
    for one in providers:
        for found in prices.listed_models(one):
            yield _filled(name, [found if one in _BARE else f"{one}/{found}"]), one, found


def _matched(pattern: str, text: str) -> list[str] | None:
    """What stands for each `*` of a pattern; None where the text is another."""
    found = re.fullmatch("(.+)".join(map(re.escape, pattern.split("*"))), text)
    return list(found.groups()) if found else None


def _filled(pattern: str, texts: list[str]) -> str:
    """A pattern with a text for each `*`."""
    parts = pattern.split("*")
    filled = parts[0]
    for text, part in zip(texts, parts[1:], strict=True):
        filled += text + part
    return filled
