"""OpenAI's formats: chat completions, legacy completions, responses, embeddings and models."""

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import Any

from tests.simulator.answers import Answer, Choice, Finish, answer
from tests.simulator.behaviour import Behaviour
from tests.simulator.counts import Tokens
from tests.simulator.plan import JSON, Headers, Part, Plan, Refusal, dump, event
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

# Fixed, so that the same request earns the same bytes.
CREATED = 1_760_000_000
DONE = b"data: [DONE]\n\n"
DIMENSIONS = 16
WINDOW = 8192
MODELS = ("sim-small", "sim-large", "sim-embedding")

_SAID = {
    400: ("Invalid value for 'messages'.", "invalid_request_error", "messages", "invalid_value"),
    401: ("Incorrect API key provided: sk-***.", "invalid_request_error", None, "invalid_api_key"),
    403: ("You are not allowed to use this model.", "invalid_request_error", None, "model_not_allowed"),
    404: (
        "The model does not exist or you do not have access to it.",
        "invalid_request_error",
        None,
        "model_not_found",
    ),
    408: ("The request timed out.", "timeout", None, None),
    409: ("The request conflicts with another.", "invalid_request_error", None, None),
    413: ("The request is too large.", "invalid_request_error", None, "request_too_large"),
    422: ("The request could not be processed.", "invalid_request_error", None, None),
    429: (
        "Rate limit reached for requests per min (RPM): Limit 3, Used 3.",
        "requests",
        None,
        "rate_limit_exceeded",
    ),
    500: (
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
        None,
        None,
    ),
    502: ("Bad gateway.", "server_error", None, None),
    503: ("The engine is currently overloaded, please try again later.", "server_error", None, None),
    504: ("The upstream timed out.", "server_error", None, None),
    529: ("Overloaded.", "server_error", None, None),
}


class Errors:
    """OpenAI's error object."""

    def refusal(self, status: int, kind: str, retry: float | None, request: ParsedRequest) -> Refusal:
        """Write an error response."""
        said: tuple[str, str, str | None, str | None]
        match kind:
            case "context":
                status = 400
                long = (
                    f"This model's maximum context length is {WINDOW} tokens. However, your messages resulted in "
                    f"{max(request.prompt_tokens, WINDOW + 1)} tokens. Please reduce the length of the messages."
                )
                said = (
                    long,
                    "invalid_request_error",
                    "messages",
                    "context_length_exceeded",
                )
            case "policy":
                status = 400
                said = (
                    "Your request was rejected as a result of our safety system.",
                    "invalid_request_error",
                    None,
                    "content_policy_violation",
                )
            case "quota":
                status = 429
                said = (
                    "You exceeded your current quota, please check your plan and billing details.",
                    "insufficient_quota",
                    None,
                    "insufficient_quota",
                )
            case "":
                said = _SAID[status]
            case message:
                said = (message, "invalid_request_error", None, None)
        headers = [JSON, *_retry(retry)]
        return Refusal(
            status,
            dump({"error": dict(zip(("message", "type", "param", "code"), said, strict=True))}),
            headers,
        )

    def limits(self, total: int, remaining: int) -> Headers:
        """The headers that show a limit of requests."""
        return (
            ("x-ratelimit-limit-requests", str(total)),
            ("x-ratelimit-remaining-requests", str(remaining)),
            ("x-ratelimit-reset-requests", "1s"),
        )

    def error_event(self) -> bytes:
        """An error inside a stream."""
        return b"data: " + self.error_body() + b"\n\n"

    def error_body(self) -> bytes:
        """An error in a body that calls itself a success."""
        return self.refusal(500, "", None, NOTHING).body


class Chat(Errors):
    """POST /chat/completions."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request."""
        body, tally, question, last = request.body, Tally(), "", ""
        messages = body["messages"]
        if not isinstance(messages, list) or not messages:
            raise ValueError("messages: a list with at least one message is needed")
        for message in messages:
            tally.message()
            said = tally.parts(message.get("content"))
            last = message["role"]
            if last == "user":
                question = said
        tools = [_tool(tool) for tool in body.get("tools") or ()]
        tally.tools(len(tools))
        choice = body.get("tool_choice")
        usable = choice != "none" and last != "tool"
        form = mapping_of(body.get("response_format"))
        schema = mapping_of(mapping_of(form.get("json_schema")).get("schema"))
        return ParsedRequest(
            model=body["model"],
            digest=request.digest,
            body=body,
            stream=bool(body.get("stream")),
            question=question,
            prompt_tokens=tally.tokens,
            tools=tools if usable else (),
            forced=text_of(mapping_of(mapping_of(choice).get("function")).get("name")),
            parallel=body.get("parallel_tool_calls") is not False,
            choices=body.get("n") or 1,
            cap=cap_of(body.get("max_completion_tokens"), body.get("max_tokens")),
            stop=stops_of(body.get("stop")),
            schema=schema if form.get("type") in ("json_schema", "json_object") else None,
            effort=text_of(body.get("reasoning_effort")),
        )

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The answer as one body."""
        given = answer(request, behaviour)
        choices = [
            {
                "index": index,
                "message": _message(choice, given.thoughts),
                "logprobs": _logprobs(request.body, choice.pieces),
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(given.choices)
        ]
        shown = self._frame(request, "chat.completion") | {"choices": choices}
        if behaviour.usage:
            shown["usage"] = usage(given.tokens)
        return Plan([Part(dump(shown), given.tokens.completion_tokens)], given.tokens)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The answer as chunks; those of several choices and calls take turns."""
        given = answer(request, behaviour)
        frame = self._frame(request, "chat.completion.chunk")
        asked_for_usage = (
            bool(mapping_of(request.body.get("stream_options")).get("include_usage")) and behaviour.usage
        )
        if asked_for_usage:
            frame["usage"] = None
        parts = []
        rounds = [_deltas(choice, given, first=index == 0) for index, choice in enumerate(given.choices)]
        for turn in zip_longest(*rounds):
            for index, step in enumerate(turn):
                if step is None:
                    continue
                delta, tokens, finish = step
                shown = {
                    "index": index,
                    "delta": delta,
                    "logprobs": _logprobs(request.body, (delta["content"],))
                    if tokens and delta.get("content")
                    else None,
                    "finish_reason": finish,
                }
                parts.append(Part(event(frame | {"choices": [shown]}), tokens))
        if asked_for_usage:
            parts.append(Part(event(frame | {"choices": [], "usage": usage(given.tokens)})))
        parts.append(Part(DONE))
        return Plan(parts, given.tokens)

    def _frame(self, request: ParsedRequest, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{request.digest}",
            "object": kind,
            "created": CREATED,
            "model": request.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulator",
        }


class Completions(Errors):
    """POST /completions."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request; of several prompts the last is answered."""
        body, tally, question = request.body, Tally(), ""
        prompt = body["prompt"]
        for text in prompt if isinstance(prompt, list) else [prompt]:
            question = tally.text(text) if isinstance(text, str) else tally.text("token")
        return ParsedRequest(
            model=body["model"],
            digest=request.digest,
            body=body,
            stream=bool(body.get("stream")),
            question=question,
            prompt_tokens=tally.tokens,
            choices=body.get("n") or 1,
            cap=cap_of(body.get("max_tokens"), 16),
            stop=stops_of(body.get("stop")),
        )

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The answer as one body."""
        given = answer(request, behaviour)
        choices = [
            {"text": choice.text, "index": index, "logprobs": None, "finish_reason": choice.finish}
            for index, choice in enumerate(given.choices)
        ]
        shown = self._frame(request) | {"choices": choices}
        if behaviour.usage:
            shown["usage"] = usage(given.tokens)
        return Plan([Part(dump(shown), given.tokens.completion_tokens)], given.tokens)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The answer as chunks."""
        given = answer(request, behaviour)
        frame = self._frame(request)
        asked_for_usage = (
            bool(mapping_of(request.body.get("stream_options")).get("include_usage")) and behaviour.usage
        )
        if asked_for_usage:
            frame["usage"] = None
        parts = []
        for index, choice in enumerate(given.choices):
            for piece in (*choice.pieces, ""):
                shown = {
                    "text": piece,
                    "index": index,
                    "logprobs": None,
                    "finish_reason": None if piece else choice.finish,
                }
                parts.append(Part(event(frame | {"choices": [shown]}), 1 if piece else 0))
        # Hidden thought costs tokens and is never sent; it belongs to the first piece.
        parts[0] = Part(parts[0].data, parts[0].tokens + given.tokens.reasoning_tokens)
        if asked_for_usage:
            parts.append(Part(event(frame | {"choices": [], "usage": usage(given.tokens)})))
        parts.append(Part(DONE))
        return Plan(parts, given.tokens)

    def _frame(self, request: ParsedRequest) -> dict[str, Any]:
        return {
            "id": f"cmpl-{request.digest}",
            "object": "text_completion",
            "created": CREATED,
            "model": request.model,
            "system_fingerprint": "fp_simulator",
        }


class Embeddings(Errors):
    """POST /embeddings."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request."""
        body, tally = request.body, Tally()
        for given in _inputs(body["input"]):
            if isinstance(given, str):
                tally.text(given)
            else:
                tally.tokens += len(given)
        if not isinstance(body.get("dimensions"), int | None):
            raise TypeError("dimensions: expected an integer")
        return ParsedRequest(
            model=body["model"],
            digest=request.digest,
            body=body,
            stream=False,
            question="",
            prompt_tokens=tally.tokens,
        )

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The vectors, as numbers or as base64."""
        size = request.body.get("dimensions") or DIMENSIONS
        packed = request.body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(found) if packed else found}
            for index, found in enumerate(
                vector(str(given), size) for given in _inputs(request.body["input"])
            )
        ]
        tokens = Tokens(prompt_tokens=request.prompt_tokens)
        shown: dict[str, Any] = {"object": "list", "data": data, "model": request.model}
        if behaviour.usage:
            shown["usage"] = {"prompt_tokens": tokens.prompt_tokens, "total_tokens": tokens.prompt_tokens}
        return Plan([Part(dump(shown))], tokens)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """Embeddings have no stream."""
        return self.whole(request, behaviour)


class Moderations(Errors):
    """POST /moderations, which costs nothing."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request; its texts are the question."""
        given = request.body["input"]
        inputs = given if isinstance(given, list) else [given]
        return ParsedRequest(
            model=request.body["model"],
            digest=request.digest,
            body=request.body,
            stream=False,
            question=" ".join(one if isinstance(one, str) else text_of(one.get("text")) for one in inputs),
            prompt_tokens=0,
            choices=len(inputs) if all(isinstance(one, str) for one in inputs) else 1,
        )

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """A result for each text; the word kill is violent."""
        flagged = "kill" in request.question
        result = {
            "flagged": flagged,
            "categories": {"violence": flagged},
            "category_scores": {"violence": 0.5},
        }
        shown = {
            "id": f"modr-{request.digest}",
            "model": request.model,
            "results": [result] * request.choices,
        }
        return Plan([Part(dump(shown))], Tokens())

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """Moderations have no stream."""
        return self.whole(request, behaviour)


class Responses(Errors):
    """POST /responses."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request."""
        body, tally, question, last = request.body, Tally(), "", ""
        if instructions := text_of(body.get("instructions")):
            tally.message()
            tally.text(instructions)
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        for item in items:
            tally.message()
            last = item.get("type", "message")
            said = tally.parts([item] if last == "function_call_output" else item.get("content"))
            if item.get("role") == "user":
                question = said
        tools = [_tool(tool) for tool in body.get("tools") or ()]
        tally.tools(len(tools))
        choice = body.get("tool_choice")
        form = mapping_of(mapping_of(body.get("text")).get("format"))
        return ParsedRequest(
            model=body["model"],
            digest=request.digest,
            body=body,
            stream=bool(body.get("stream")),
            question=question,
            prompt_tokens=tally.tokens,
            tools=tools if choice != "none" and last != "function_call_output" else (),
            forced=text_of(mapping_of(choice).get("name")),
            parallel=body.get("parallel_tool_calls") is not False,
            cap=cap_of(body.get("max_output_tokens")),
            schema=mapping_of(form.get("schema"))
            if form.get("type") in ("json_schema", "json_object")
            else None,
            effort=text_of(mapping_of(body.get("reasoning")).get("effort")),
        )

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The response object."""
        given = answer(request, behaviour)
        shown = self._response(request, behaviour, given)
        return Plan([Part(dump(shown), given.tokens.completion_tokens)], given.tokens)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The typed events, numbered."""
        given = answer(request, behaviour)
        done = self._response(request, behaviour, given)
        begun = done | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
        parts = []
        for number, (kind, fields, tokens) in enumerate(_events(begun, done, given)):
            parts.append(Part(event({"type": kind, "sequence_number": number, **fields}, kind), tokens))
        return Plan(parts, given.tokens)

    def error_event(self) -> bytes:
        """An error inside a stream."""
        said = {"message": _SAID[500][0], "code": "server_error", "param": None}
        return event({"type": "error", "sequence_number": 0, **said}, "error")

    def _response(self, request: ParsedRequest, behaviour: Behaviour, given: Answer) -> dict[str, Any]:
        body = request.body
        cut = given.choices[0].finish
        reasons = {Finish.LENGTH: "max_output_tokens", Finish.CONTENT_FILTER: "content_filter"}
        shown = {
            "id": f"resp_{request.digest}",
            "object": "response",
            "created_at": CREATED,
            "status": "incomplete" if cut in reasons else "completed",
            "error": None,
            "incomplete_details": {"reason": reasons[cut]} if cut in reasons else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": request.model,
            "output": _items(request, given.choices[0]),
            "parallel_tool_calls": request.parallel,
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {"effort": request.effort or None, "summary": None},
            "service_tier": "default",
            "store": body.get("store", True),
            "temperature": 1.0 if body.get("temperature") is None else body["temperature"],
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "top_p": 1.0 if body.get("top_p") is None else body["top_p"],
            "truncation": "disabled",
            "user": body.get("user"),
            "metadata": body.get("metadata") or {},
            "usage": None,
        }
        if behaviour.usage:
            spent = given.tokens
            shown["usage"] = {
                "input_tokens": spent.prompt_tokens,
                "input_tokens_details": {"cached_tokens": spent.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": spent.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": spent.reasoning_tokens},
                "total_tokens": spent.prompt_tokens + spent.completion_tokens,
            }
        return shown


# What an item of the responses format lacks when it is announced.
_UNSAID: Mapping[str, Mapping[str, Any]] = {"message": {"content": []}, "function_call": {"arguments": ""}}


def models() -> bytes:
    """GET /models."""
    each = [{"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"} for name in MODELS]
    return dump({"object": "list", "data": each})


def usage(spent: Tokens) -> dict[str, Any]:
    """OpenAI's usage of chat and completions."""
    return {
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "total_tokens": spent.prompt_tokens + spent.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": spent.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": spent.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def vector(text: str, size: int) -> list[float]:
    """A vector of length 1 that depends on the text alone."""
    raw = b""
    while len(raw) < 2 * size:
        raw += sha256(f"{len(raw)}:{text}".encode()).digest()
    values = [value / 65535 - 0.5 for value in struct.unpack(f"<{size}H", raw[: 2 * size])]
    norm = sum(value * value for value in values) ** 0.5
    return [value / norm for value in values]


def _packed(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _inputs(given: Any) -> list[Any]:
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        return [given]
    if not isinstance(given, list) or not given:
        raise ValueError("input: a text or a list is needed")
    return given


def _tool(tool: Mapping[str, Any]) -> Tool:
    # The responses format has no inner object.
    function = mapping_of(tool.get("function") or tool)
    return Tool(
        text_of(function.get("name")) or text_of(tool.get("type")), mapping_of(function.get("parameters"))
    )


def _retry(retry: float | None) -> list[tuple[str, str]]:
    return [] if retry is None else [("retry-after", f"{retry:g}")]


def _message(choice: Choice, thoughts: Sequence[str]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if choice.calls else choice.text,
        "refusal": None,
    }
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{call.id}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.calls
        ]
    else:
        message["annotations"] = []
    return message


def _deltas(
    choice: Choice, given: Answer, *, first: bool
) -> Iterator[tuple[dict[str, Any], int, str | None]]:
    """The deltas of one choice, each with the tokens it carries and, the last, why it ends."""
    # Thought costs tokens once, whatever the number of choices; what is hidden belongs to the first delta.
    thoughts = given.thoughts if first else ()
    hidden = given.tokens.reasoning_tokens - len(given.thoughts) if first else 0
    yield {"role": "assistant", "content": None if choice.calls else "", "refusal": None}, hidden, None
    for thought in thoughts:
        yield {"reasoning_content": thought}, 1, None
    for piece in choice.pieces:
        yield {"content": piece}, 1, None
    for index, call in enumerate(choice.calls):
        function = {"name": call.name, "arguments": ""}
        yield (
            {
                "tool_calls": [
                    {"index": index, "id": f"call_{call.id}", "type": "function", "function": function}
                ]
            },
            1,
            None,
        )
    for turn in zip_longest(*(call.pieces for call in choice.calls)):
        for index, piece in enumerate(turn):
            if piece is not None:
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, 1, None
    yield {}, 0, choice.finish


def _logprobs(body: Mapping[str, Any], pieces: Sequence[str]) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    return {"content": [_logprob(piece, body.get("top_logprobs") or 0) for piece in pieces], "refusal": None}


def _logprob(piece: str, top: int) -> dict[str, Any]:
    said = {"token": piece, "logprob": -0.125, "bytes": list(piece.encode())}
    others = [
        {"token": f"alt{n}", "logprob": -2.0 - n, "bytes": list(f"alt{n}".encode())} for n in range(1, top)
    ]
    return {**said, "top_logprobs": [said, *others] if top else []}


def _items(request: ParsedRequest, choice: Choice) -> list[dict[str, Any]]:
    if choice.calls:
        return [
            {
                "type": "function_call",
                "id": f"fc_{call.id}",
                "call_id": f"call_{call.id}",
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
            for call in choice.calls
        ]
    part = {"type": "output_text", "text": choice.text, "annotations": [], "logprobs": []}
    return [
        {
            "type": "message",
            "id": f"msg_{request.digest}",
            "status": "incomplete" if choice.finish is Finish.LENGTH else "completed",
            "role": "assistant",
            "content": [part],
        }
    ]


def _events(
    begun: dict[str, Any], done: dict[str, Any], given: Answer
) -> Iterator[tuple[str, dict[str, Any], int]]:
    choice = given.choices[0]
    yield "response.created", {"response": begun}, given.tokens.reasoning_tokens
    yield "response.in_progress", {"response": begun}, 0
    for index, item in enumerate(done["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        added: dict[str, Any] = {**item, **_UNSAID[item["type"]]}
        calls = choice.calls[index : index + 1]
        # A function's name is said here, and is a token.
        yield (
            "response.output_item.added",
            {"output_index": index, "item": added | {"status": "in_progress"}},
            len(calls),
        )
        if item["type"] == "message":
            part = item["content"][0]
            place["content_index"] = 0
            yield "response.content_part.added", {**place, "part": part | {"text": ""}}, 0
            for piece in choice.pieces:
                yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}, 1
            yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}, 0
            yield "response.content_part.done", {**place, "part": part}, 0
        for call in calls:
            for piece in call.pieces:
                yield "response.function_call_arguments.delta", {**place, "delta": piece}, 1
            said = {"arguments": item["arguments"], "name": item["name"]}
            yield "response.function_call_arguments.done", {**place, **said}, 0
        yield "response.output_item.done", {"output_index": index, "item": item}, 0
    yield f"response.{done['status']}", {"response": done}, 0
