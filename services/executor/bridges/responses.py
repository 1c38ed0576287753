"""OpenAI's responses by a model that only chats."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.chassis.deployments import Deployment
from services.executor.bridges import blocks, response_tools
from services.executor.bridges.base import mapping, objects
from services.executor.bridges.blocks import Block, BlockReader
from services.executor.bridges.output_items import Items
from services.executor.bridges.responses_body import to_chat
from services.executor.engines.usage import from_chat

# Why an answer is not complete, by why the chat ended.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# What a response repeats of its request, and what it says where the request says nothing.
_ECHOED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


class ResponsesBridge:
    """A response as a chat."""

    def __init__(self, body: Mapping[str, Any], deployment: Deployment) -> None:
        """Translate a body.

        Raises:
            Failed: it asks for what a chat cannot do.
        """
        self.body = to_chat(body, deployment)
        self._asked = body
        self._tools = response_tools.by_chat_name(body)
        self._reader = BlockReader()
        self._items = Items("", self._tools)
        self._head: dict[str, Any] = {}
        self._finish = ""
        self._usage: Mapping[str, Any] = {}
        self._tier: Any = None
        self._sent = 0

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The response."""
        self._read_head(answer)
        choice = next(iter(objects(answer.get("choices"))), {})
        found = blocks.of_message(mapping(choice.get("message")))
        self._read_end(answer)
        self._finish = str(choice.get("finish_reason") or "")
        return self._response(self._status, self._output(found))

    def events(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What a chunk adds to the response."""
        if not self._head:
            self._read_head(chunk)
            begun = self._response("in_progress", [])
            yield self._numbered({"type": "response.created", "response": begun})
            yield self._numbered({"type": "response.in_progress", "response": begun})
        self._read_end(chunk)
        for choice in objects(chunk.get("choices")):
            if choice.get("index"):
                continue
            for event in self._reader.read(mapping(choice.get("delta"))):
                yield from map(self._numbered, self._items.events(*event))
            self._finish = str(choice.get("finish_reason") or self._finish)

    def end(self, *, done: bool) -> Iterator[dict[str, Any]]:
        """The end of the response, unless the chat was cut."""
        if not self._head or not (self._finish or done):
            return
        for step, block, piece in self._reader.end():
            status = self._status_of(block, self._reader.blocks)
            yield from map(self._numbered, self._items.events(step, block, piece, status))
        response = self._response(self._status, self._output(self._reader.blocks))
        yield self._numbered({"type": f"response.{self._status}", "response": response})

    @property
    def _status(self) -> str:
        return "incomplete" if self._finish in _INCOMPLETE else "completed"

    def _output(self, found: Sequence[Block]) -> list[dict[str, Any]]:
        return [self._items.whole(block, self._status_of(block, found)) for block in found]

    def _status_of(self, block: Block, among: Sequence[Block]) -> str:
        """The status of a block's item: where an answer is cut, that is its last one."""
        return self._status if block is among[-1] else "completed"

    def _read_head(self, part: Mapping[str, Any]) -> None:
        ident = str(part.get("id", "")).removeprefix("chatcmpl-")
        self._items = Items(ident, self._tools)
        self._head = {
            "id": f"resp_{ident}",
            "created_at": part.get("created") or int(time.time()),
            "model": part.get("model", ""),
        }

    def _read_end(self, part: Mapping[str, Any]) -> None:
        self._usage = mapping(part.get("usage")) or self._usage
        self._tier = part.get("service_tier") or self._tier

    def _numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        event["sequence_number"] = self._sent
        self._sent += 1
        return event

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        reason = _INCOMPLETE.get(self._finish)
        given = {name: self._asked[name] for name in _ECHOED if self._asked.get(name) is not None}
        return {
            **self._head,
            "object": "response",
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason and status == "incomplete" else None,
            "output": output,
            **_ECHOED,
            **given,
            "service_tier": self._tier,
            "usage": _usage(self._usage) if status != "in_progress" and self._usage else None,
        }


def _usage(reported: Mapping[str, Any]) -> dict[str, Any]:
    """A chat's usage as responses report it."""
    used = from_chat(reported)
    return {
        "input_tokens": used.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": used.cached_tokens,
            "cache_write_tokens": used.cache_write_tokens,
            "audio_tokens": used.audio_prompt_tokens,
        },
        "output_tokens": used.completion_tokens,
        "output_tokens_details": {
            "reasoning_tokens": used.reasoning_tokens,
            "audio_tokens": used.audio_completion_tokens,
        },
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }
