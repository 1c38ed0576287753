"""Marks of what Anthropic shall keep of a prompt (`cache_control`), set where they pay and the caller set none.

Anthropic keeps a marked start of a prompt for five minutes from its last use. Writing it costs 1.25 times the price of
the input and reading it a tenth of that price, so it pays when the same start is sent again in time. What is marked was
seen here within the last five minutes: the tools and system texts by themselves, and a conversation, up to its latest
answer, by how it begins.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import orjson
from litellm.utils import get_prompt_cache_min_tokens

from services.chassis.deployments import Deployment
from services.chassis.operations import Operation

MARK: Mapping[str, str] = {"type": "ephemeral"}
# For how long Anthropic keeps what carries this mark, in seconds.
KEPT_S = 300.0
# Starts of prompts that are remembered, by digest: about 3 MiB.
REMEMBERED = 16_384
# Fewer than tokens take: a mark on a part that is shorter than its model's minimum does nothing and costs nothing.
BYTES_PER_TOKEN = 3
# What Anthropic reads before the messages.
_BEFORE = ("tools", "functions", "system")
_SYSTEM = frozenset(("system", "developer"))
# How a mark reads in JSON; inside a string its quotes would be escaped.
_MARKED = b'"cache_control":'
# What of a message carries a mark: thoughts do not, nor do empty texts.
_MARKABLE = frozenset("text image image_url document file tool_use tool_result".split())


class CacheMarks:
    """Marks the starts of prompts that are sent again and again.

    It remembers them by deployment, not by caller, as Anthropic does. A retry counts as another request.

    Args:
        clock: Seconds from any point in time.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def marked(
        self, deployment: Deployment, operation: Operation, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The body of a chat or of messages with the marks that pay, two at most; the same where none does."""
        messages = body.get("messages")
        if not can_pay(deployment) or not isinstance(messages, list) or not messages:
            return body
        least = least_bytes(deployment.base_model or deployment.litellm_model)
        text = orjson.dumps(body)
        if len(text) < least or _MARKED in text:
            return body
        roles = [str(one.get("role")) if isinstance(one, Mapping) else "" for one in messages]
        system = next((place for place, role in enumerate(roles) if role not in _SYSTEM), len(roles))
        begun = next((place for place, role in enumerate(roles) if role == "assistant"), len(roles))
        # What follows the latest answer is new; an answer at the very end is one that the model is to go on with.
        answer = max((place for place, role in enumerate(roles[:-1]) if role == "assistant"), default=-1)
        before = orjson.dumps([deployment.id, [body.get(name) for name in _BEFORE], messages[:system]])
        marked = list(messages)
        found: dict[str, Any] = {}
        if len(before) >= least and self._is_repeated(before):
            found = _with_system(body, operation, marked, system)
        length = len(before) + len(orjson.dumps(messages[system : answer + 1])) if answer >= 0 else 0
        if length >= least and self._is_repeated(before + orjson.dumps(messages[system:begun])):
            marked[answer] = _message(marked[answer], operation)
        return {**body, "messages": marked, **found}

    def _is_repeated(self, start: bytes) -> bool:
        """Whether a start was seen while Anthropic would keep it; from now on it was."""
        digest, now = hashlib.blake2b(start, digest_size=16).digest(), self._clock()
        last = self._seen.pop(digest, None)
        self._seen[digest] = now
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return last is not None and now - last < KEPT_S


def can_pay(deployment: Deployment) -> bool:
    """Whether a part that is written once and read once costs less than when it is sent twice."""
    if deployment.provider != "anthropic" or "prompt_caching" not in deployment.capabilities:
        return False
    if "cache_control_injection_points" in deployment.params:
        # LiteLLM sets those that are configured.
        return False
    rates = deployment.price.rows[0].rates if deployment.price.rows else None
    return rates is not None and rates.cache_write + rates.cached < 2 * rates.input


@cache
def least_bytes(model: str) -> int:
    """How long a part is at least that a model keeps, in bytes of JSON; LiteLLM's table has the tokens."""
    return int(get_prompt_cache_min_tokens(model)) * BYTES_PER_TOKEN


def _with_system(
    body: Mapping[str, Any], operation: Operation, messages: list[Any], system: int
) -> dict[str, Any]:
    """The fields with a mark at the end of the tools and system texts; a message is replaced in the list."""
    if system:
        messages[system - 1] = _message(messages[system - 1], operation)
    elif texts := body.get("system"):
        return {"system": _content(texts)}
    elif isinstance(tools := body.get("tools"), list) and tools and isinstance(tools[-1], Mapping):
        return {"tools": [*tools[:-1], {**tools[-1], "cache_control": MARK}]}
    return {}


def _message(message: Mapping[str, Any], operation: Operation) -> Mapping[str, Any]:
    """A message with a mark at its end; the same where nothing there carries one."""
    if isinstance(calls := message.get("tool_calls"), list) and calls:
        return {**message, "tool_calls": [*calls[:-1], {**calls[-1], "cache_control": MARK}]}
    content = message.get("content")
    if isinstance(content, str) and operation is Operation.CHAT and message.get("role") == "assistant":
        # LiteLLM puts a list's texts in another place among thoughts and searches; of other roles it loses this mark.
        return {**message, "cache_control": MARK} if content else message
    return {**message, "content": _content(content)}


def _content(content: Any) -> Any:
    """Content with a mark on its last part."""
    if isinstance(content, str) and content:
        return [{"type": "text", "text": content, "cache_control": MARK}]
    if not isinstance(content, list) or not content or not isinstance(last := content[-1], Mapping):
        return content
    if last.get("type") not in _MARKABLE or last.get("text") == "":
        return content
    return [*content[:-1], {**last, "cache_control": MARK}]
