"""The output items of OpenAI's responses, and the events about them."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.executor.bridges.blocks import Block, Kind, Step
from services.executor.bridges.response_tools import FREE_TEXT, Tool

_PREFIXES = {Kind.THOUGHT: "rs", Kind.TEXT: "msg", Kind.REFUSAL: "msg", Kind.CALL: "fc"}
# The part of an item that grows, the field of it, and what its events are called.
_PARTS = {
    Kind.THOUGHT: ("reasoning_text", "text", "response.reasoning_text"),
    Kind.TEXT: ("output_text", "text", "response.output_text"),
    Kind.REFUSAL: ("refusal", "refusal", "response.refusal"),
}


class Items:
    """Shows blocks as items.

    Args:
        ident: What the ids of the items are made of.
        tools: The tools by what the chat calls them.

    """

    def __init__(self, ident: str, tools: Mapping[str, Tool]) -> None:
        self._ident = ident
        self._tools = tools

    def whole(self, block: Block, status: str = "completed") -> dict[str, Any]:
        """The item of a whole block."""
        item: dict[str, Any] = {"id": self._id(block), "status": status}
        if block.kind is Kind.CALL:
            tool = self._tool(block)
            about = {"call_id": block.call_id, **tool.called}
            if tool.free_text:
                return {"type": "custom_tool_call", **item, **about, "input": _free_text(block)}
            return {"type": "function_call", **item, **about, "arguments": block.text}
        part = _part(block, block.text)
        if block.kind is Kind.THOUGHT:
            return {"type": "reasoning", **item, "summary": [], "content": [part]}
        return {"type": "message", **item, "role": "assistant", "content": [part]}

    def events(
        self, step: Step, block: Block, piece: str, status: str = "completed"
    ) -> Iterator[dict[str, Any]]:
        """The events of what happens to a block, whose item has the status when it ends."""
        if block.kind is Kind.CALL:
            yield from self._of_call(step, block, piece, status)
            return
        name = _PARTS[block.kind][2]
        place = {"item_id": self._id(block), "output_index": block.index, "content_index": 0}
        extra: dict[str, Any] = {"logprobs": []} if block.kind is Kind.TEXT else {}
        match step:
            case Step.BEGINS:
                yield self._added(block, {"content": []})
                yield {"type": "response.content_part.added", **place, "part": _part(block, "")}
            case Step.GROWS:
                yield {"type": f"{name}.delta", **place, "delta": piece, **extra}
            case Step.ENDS:
                field = _PARTS[block.kind][1]
                yield {"type": f"{name}.done", **place, field: block.text, **extra}
                yield {"type": "response.content_part.done", **place, "part": _part(block, block.text)}
                yield self._done(block, status)

    def _of_call(self, step: Step, block: Block, piece: str, status: str) -> Iterator[dict[str, Any]]:
        place = {"item_id": self._id(block), "output_index": block.index}
        tool = self._tool(block)
        if tool.free_text:
            # The text stands in the arguments, and is known when they are whole.
            name, field = "response.custom_tool_call_input", "input"
        else:
            name, field = "response.function_call_arguments", "arguments"
        match step:
            case Step.BEGINS:
                yield self._added(block, {field: ""})
            case Step.GROWS if field == "arguments":
                yield {"type": f"{name}.delta", **place, "delta": piece}
            case Step.ENDS if field == "arguments":
                yield {"type": f"{name}.done", **place, "name": tool.name, field: block.text}
                yield self._done(block, status)
            case Step.ENDS:
                text = _free_text(block)
                yield {"type": f"{name}.delta", **place, "delta": text}
                yield {"type": f"{name}.done", **place, field: text}
                yield self._done(block, status)

    def _tool(self, block: Block) -> Tool:
        """The tool that a block calls; a model may call one that there is not."""
        return self._tools.get(block.name) or Tool(block.name)

    def _added(self, block: Block, unsaid: dict[str, Any]) -> dict[str, Any]:
        item = {**self.whole(block, "in_progress"), **unsaid}
        return {"type": "response.output_item.added", "output_index": block.index, "item": item}

    def _done(self, block: Block, status: str) -> dict[str, Any]:
        item = self.whole(block, status)
        return {"type": "response.output_item.done", "output_index": block.index, "item": item}

    def _id(self, block: Block) -> str:
        return f"{_PREFIXES[block.kind]}_{self._ident}{block.index:02d}"


def _part(block: Block, text: str) -> dict[str, Any]:
    kind, field, _ = _PARTS[block.kind]
    extra: dict[str, Any] = {"annotations": [], "logprobs": []} if block.kind is Kind.TEXT else {}
    return {"type": kind, field: text, **extra}


def _free_text(block: Block) -> str:
    """What a tool of free text was called with."""
    try:
        given = orjson.loads(block.text or "{}")
    except orjson.JSONDecodeError:
        return block.text
    return str(given.get(FREE_TEXT, "")) if isinstance(given, dict) else block.text
