"""Anthropic's messages by a model that only chats."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.chassis.deployments import Deployment
from services.executor.bridges import blocks
from services.executor.bridges.base import mapping, objects
from services.executor.bridges.blocks import Block, BlockReader, Kind, Step
from services.executor.bridges.messages_body import to_chat
from services.executor.engines.usage import Usage, from_chat

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# What each kind of block grows by.
_DELTAS = {
    Kind.THOUGHT: ("thinking_delta", "thinking"),
    Kind.TEXT: ("text_delta", "text"),
    Kind.REFUSAL: ("text_delta", "text"),
    Kind.CALL: ("input_json_delta", "partial_json"),
}


class MessagesBridge:
    """A message as a chat."""

    def __init__(self, body: Mapping[str, Any], deployment: Deployment) -> None:
        """Translate a body.

        Raises:
            Failed: it asks for what a chat cannot do.
        """
        self.body = to_chat(body, deployment)
        self._reader = BlockReader()
        self._begun = False
        self._finish = ""
        self._usage: Mapping[str, Any] = {}
        self._tier: Any = None

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The message."""
        choice = next(iter(objects(answer.get("choices"))), {})
        found = blocks.of_message(mapping(choice.get("message")))
        refused = any(block.kind is Kind.REFUSAL for block in found)
        return {
            **_message(answer),
            "content": [_whole(block) for block in found],
            "stop_reason": "refusal"
            if refused
            else _REASONS.get(str(choice.get("finish_reason")), "end_turn"),
            "usage": _usage(mapping(answer.get("usage")), answer.get("service_tier")),
        }

    def events(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What a chunk adds to the message."""
        if not self._begun:
            self._begun = True
            yield {"type": "message_start", "message": _message(chunk)}
        self._usage = mapping(chunk.get("usage")) or self._usage
        self._tier = chunk.get("service_tier") or self._tier
        for choice in objects(chunk.get("choices")):
            if choice.get("index"):
                continue
            for event in self._reader.read(mapping(choice.get("delta"))):
                yield from _shown(*event)
            self._finish = choice.get("finish_reason") or self._finish

    def end(self, *, done: bool) -> Iterator[dict[str, Any]]:
        """The end of the message, unless the chat was cut."""
        if not self._begun or not (self._finish or done):
            return
        for event in self._reader.end():
            yield from _shown(*event)
        refused = any(block.kind is Kind.REFUSAL for block in self._reader.blocks)
        reason = "refusal" if refused else _REASONS.get(self._finish, "end_turn")
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": _usage(self._usage, self._tier),
        }
        yield {"type": "message_stop"}


def _message(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{str(part.get('id', '')).removeprefix('chatcmpl-')}",
        "type": "message",
        "role": "assistant",
        "model": part.get("model", ""),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        # Chats report theirs at the end.
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _usage(reported: Mapping[str, Any], tier: Any) -> dict[str, Any]:
    """A chat's usage as Anthropic reports it, where the parts of the prompt stand side by side."""
    used = from_chat(reported) if reported else Usage()
    return {
        "input_tokens": used.prompt_tokens - used.cached_tokens - used.cache_write_tokens,
        "cache_creation_input_tokens": used.cache_write_tokens,
        "cache_read_input_tokens": used.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write_tokens - used.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": used.cache_write_1h_tokens,
        },
        "output_tokens": used.completion_tokens,
        "output_tokens_details": {"thinking_tokens": used.reasoning_tokens},
        "service_tier": tier,
    }


def _begun(block: Block) -> dict[str, Any]:
    match block.kind:
        case Kind.THOUGHT:
            # Only Anthropic signs thoughts.
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Kind.CALL:
            return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}
        case _:
            return {"type": "text", "text": ""}


def _whole(block: Block) -> dict[str, Any]:
    shown = _begun(block)
    if block.kind is Kind.CALL:
        try:
            given = orjson.loads(block.text or "{}")
        except orjson.JSONDecodeError:
            # Cut short by the limit of tokens.
            given = {}
        return {**shown, "input": given if isinstance(given, dict) else {}}
    return {**shown, _DELTAS[block.kind][1]: block.text}


def _shown(step: Step, block: Block, piece: str) -> Iterator[dict[str, Any]]:
    match step:
        case Step.BEGINS:
            yield {"type": "content_block_start", "index": block.index, "content_block": _begun(block)}
        case Step.GROWS:
            kind, name = _DELTAS[block.kind]
            yield {"type": "content_block_delta", "index": block.index, "delta": {"type": kind, name: piece}}
        case Step.ENDS:
            yield {"type": "content_block_stop", "index": block.index}
