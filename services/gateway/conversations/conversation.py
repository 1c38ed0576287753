"""How a conversation goes on from a response: what was said before, in the form that any model takes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# What of each kind of item the next turn needs; ids and states are its provider's, who keeps nothing.
_KEPT: Mapping[str, tuple[str, ...]] = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
}


def after(items: Sequence[Any], response: Mapping[str, Any]) -> list[Any]:
    """The items of a request and, after them, of the response to it."""
    return [*items, *_said(response.get("output") or ())]


def _said(output: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for item in output:
        kind = item.get("type")
        if kind == "reasoning" and item.get("encrypted_content"):
            # Only with its thoughts in it can a provider that kept nothing read it.
            yield {
                name: item[name] for name in ("type", "id", "summary", "encrypted_content") if name in item
            }
        elif kind in _KEPT:
            kept = {"type": kind, **{name: item[name] for name in _KEPT[kind] if name in item}}
            if kind == "message":
                kept["content"] = list(_parts(item.get("content") or ()))
            yield kept


def _parts(content: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for part in content:
        for kind, name in (("output_text", "text"), ("refusal", "refusal")):
            if part.get("type") == kind:
                yield {"type": kind, name: part.get(name, "")}
