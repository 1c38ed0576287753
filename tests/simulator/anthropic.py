"""Anthropic's format: messages, and the counting of their tokens."""

from collections.abc import Iterator
from typing import Any

from tests.simulator.answers import Answer, Call, Choice, Finish, answer
from tests.simulator.behaviour import Behaviour
from tests.simulator.counts import Tokens
from tests.simulator.plan import JSON, Headers, Part, Plan, Refusal, dump, event, parsed
from tests.simulator.request import (
    NOTHING,
    ParsedRequest,
    Request,
    Tally,
    Tool,
    cap_of,
    mapping_of,
    stops_of,
    text_of,
)

WINDOW = 200_000
# The tool that Anthropic runs itself.
SEARCH = "web_search_20250305"
THOUGHTS = 8

_SAID = {
    400: ("invalid_request_error", "messages: at least one message is required"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model not found"),
    408: ("timeout_error", "Request timed out"),
    409: ("invalid_request_error", "Conflict"),
    413: ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    422: ("invalid_request_error", "Unprocessable"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    502: ("api_error", "Bad gateway"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "Upstream timed out"),
    529: ("overloaded_error", "Overloaded"),
}
_REASONS = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.CONTENT_FILTER: "refusal",
}


class Messages:
    """POST /messages."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request."""
        body, tally, question = request.body, Tally(), ""
        if system := body.get("system"):
            tally.message()
            tally.parts(system)
        content: Any = ""
        for message in body["messages"]:
            tally.message()
            content = message["content"]
            said = tally.parts(content)
            if message["role"] == "user":
                question = said
        given = body.get("tools") or ()
        tools = [_tool(tool) for tool in given if tool.get("type") != SEARCH]
        tally.tools(len(given))
        choice = mapping_of(body.get("tool_choice"))
        answered = isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)
        form = mapping_of(body.get("output_format") or mapping_of(body.get("output_config")).get("format"))
        thinks = mapping_of(body.get("thinking")).get("type") in ("enabled", "adaptive")
        return ParsedRequest(
            model=body["model"],
            digest=request.digest,
            stream=bool(body.get("stream")),
            question=question,
            prompt_tokens=tally.tokens,
            tools=() if answered or choice.get("type") == "none" else tools,
            forced=text_of(choice.get("name")),
            parallel=not choice.get("disable_parallel_tool_use"),
            cap=cap_of(self.cap(body)),
            stop=stops_of(body.get("stop_sequences")),
            schema=mapping_of(form.get("schema")) if form.get("type") == "json_schema" else None,
            thoughts=THOUGHTS if thinks else 0,
            body=body,
        )

    def cap(self, body: dict[str, Any]) -> Any:
        """The cap of the answer, which must be given."""
        return body["max_tokens"]

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The message."""
        given = answer(request, behaviour)
        shown = _message(request, given)
        if behaviour.usage:
            shown["usage"] = _usage(given.tokens) | _searched(request, behaviour)
        return Plan([Part(dump(shown), given.tokens.completion_tokens)], given.tokens)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The typed events."""
        given = answer(request, behaviour)
        parts = [
            Part(event({"type": kind, **fields}, kind), tokens)
            for kind, fields, tokens in _events(request, given, behaviour)
        ]
        return Plan(parts, given.tokens)

    def refusal(self, status: int, kind: str, retry: float | None, request: ParsedRequest) -> Refusal:
        """Write an error response."""
        match kind:
            case "context":
                status, name = 400, "invalid_request_error"
                said = (
                    f"prompt is too long: {max(request.prompt_tokens, WINDOW + 1)} tokens > {WINDOW} maximum"
                )
            case "policy":
                status, name = 400, "invalid_request_error"
                said = "Output blocked by content filtering policy"
            case "quota":
                status, name = 400, "invalid_request_error"
                said = "Your credit balance is too low to access the Anthropic API."
            case "":
                name, said = _SAID[status]
            case message:
                name, said = _SAID[status][0], message
        headers = [JSON] if retry is None else [JSON, ("retry-after", f"{retry:g}")]
        body = {
            "type": "error",
            "error": {"type": name, "message": said},
            "request_id": f"req_{request.digest}",
        }
        return Refusal(status, dump(body), headers)

    def limits(self, total: int, remaining: int) -> Headers:
        """The headers that show a limit of requests."""
        return (
            ("anthropic-ratelimit-requests-limit", str(total)),
            ("anthropic-ratelimit-requests-remaining", str(remaining)),
            ("anthropic-ratelimit-requests-reset", "2100-01-01T00:00:00Z"),
        )

    def error_event(self) -> bytes:
        """An error inside a stream."""
        return b"event: error\ndata: " + self.error_body() + b"\n\n"

    def error_body(self) -> bytes:
        """An error in a body that calls itself a success."""
        return self.refusal(529, "", None, NOTHING).body


class CountTokens(Messages):
    """POST /messages/count_tokens."""

    def cap(self, body: dict[str, Any]) -> Any:
        """Nothing will be said."""
        return None

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The count, which costs nothing."""
        return Plan([Part(dump({"input_tokens": request.prompt_tokens}))], Tokens())


def _tool(tool: dict[str, Any]) -> Tool:
    return Tool(tool["name"], mapping_of(tool.get("input_schema")))


def _usage(spent: Tokens) -> dict[str, Any]:
    return {
        # Unlike OpenAI's, without what was read from or written to the cache.
        "input_tokens": spent.prompt_tokens - spent.cached_tokens - spent.cache_write_tokens,
        "cache_creation_input_tokens": spent.cache_write_tokens,
        "cache_read_input_tokens": spent.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": spent.cache_write_tokens,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": spent.completion_tokens,
        "service_tier": "standard",
    }


def _searched(request: ParsedRequest, behaviour: Behaviour) -> dict[str, Any]:
    """The count of searches, of which there are no more than the request allows."""
    search = next((tool for tool in request.body.get("tools") or () if tool.get("type") == SEARCH), None)
    if search is None:
        return {}
    return {
        "server_tool_use": {"web_search_requests": min(behaviour.searches, search.get("max_uses", 10**6))}
    }


def _message(request: ParsedRequest, given: Answer) -> dict[str, Any]:
    choice = given.choices[0]
    content: list[dict[str, Any]] = []
    if given.thoughts:
        content.append({"type": "thinking", "thinking": "".join(given.thoughts), "signature": _SIGNATURE})
    if choice.pieces:
        content.append({"type": "text", "text": choice.text})
    content += [_tool_use(call) | {"input": parsed(call.arguments)} for call in choice.calls]
    return {
        "id": f"msg_{request.digest}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": _reason(choice),
        "stop_sequence": choice.stopped or None,
    }


_SIGNATURE = "c2ltdWxhdG9y"


def _tool_use(call: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}


def _reason(choice: Choice) -> str:
    return "stop_sequence" if choice.stopped else _REASONS[choice.finish]


def _events(
    request: ParsedRequest, given: Answer, behaviour: Behaviour
) -> Iterator[tuple[str, dict[str, Any], int]]:
    choice, usage = given.choices[0], behaviour.usage
    begun = _message(request, given) | {"content": [], "stop_reason": None, "stop_sequence": None}
    if usage:
        # As the real one, the first event knows the prompt and only a token of the answer.
        begun["usage"] = _usage(given.tokens) | {"output_tokens": 1}
    yield "message_start", {"message": begun}, given.tokens.reasoning_tokens - len(given.thoughts)
    yield "ping", {}, 0
    index = 0
    if given.thoughts:
        yield from _block(
            index,
            {"type": "thinking", "thinking": "", "signature": ""},
            [({"type": "thinking_delta", "thinking": piece}, 1) for piece in given.thoughts]
            + [({"type": "signature_delta", "signature": _SIGNATURE}, 0)],
        )
        index += 1
    if choice.pieces:
        said = [({"type": "text_delta", "text": piece}, 1) for piece in choice.pieces]
        yield from _block(index, {"type": "text", "text": ""}, said)
        index += 1
    for call in choice.calls:
        given_json = [({"type": "input_json_delta", "partial_json": piece}, 1) for piece in call.pieces]
        yield from _block(index, _tool_use(call), given_json, 1)
        index += 1
    ended: dict[str, Any] = {
        "delta": {"stop_reason": _reason(choice), "stop_sequence": choice.stopped or None}
    }
    if usage:
        ended["usage"] = {"output_tokens": given.tokens.completion_tokens} | _searched(request, behaviour)
    yield "message_delta", ended, 0
    yield "message_stop", {}, 0


def _block(
    index: int, begun: dict[str, Any], deltas: list[tuple[dict[str, Any], int]], tokens: int = 0
) -> Iterator[tuple[str, dict[str, Any], int]]:
    yield "content_block_start", {"index": index, "content_block": begun}, tokens
    for delta, carried in deltas:
        yield "content_block_delta", {"index": index, "delta": delta}, carried
    yield "content_block_stop", {"index": index}, 0
