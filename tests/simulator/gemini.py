"""Gemini's format: generateContent, its stream, and embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulator.answers import Answer, Choice, Finish, answer
from tests.simulator.behaviour import Behaviour
from tests.simulator.counts import Tokens
from tests.simulator.openai import DIMENSIONS, vector
from tests.simulator.plan import EVENTS, Headers, Part, Plan, Refusal, dump, event, parsed
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

WINDOW = 1_048_575
THOUGHTS = 8

_SAID = {
    400: ("INVALID_ARGUMENT", "Invalid value at 'contents'."),
    401: ("UNAUTHENTICATED", "API key not valid. Please pass a valid API key."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "models/x is not found for API version v1beta."),
    408: ("CANCELLED", "The request timed out."),
    409: ("ABORTED", "The operation was aborted."),
    413: ("INVALID_ARGUMENT", "Request payload size exceeds the limit."),
    422: ("INVALID_ARGUMENT", "Unprocessable."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "An internal error has occurred."),
    502: ("UNAVAILABLE", "Bad gateway."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The service is unable to finish processing within the deadline."),
    529: ("UNAVAILABLE", "The model is overloaded."),
}
_REASONS = {
    Finish.STOP: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.TOOL_CALLS: "STOP",
    Finish.CONTENT_FILTER: "SAFETY",
}


class _Errors:
    """google.rpc.Status as JSON."""

    def refusal(self, status: int, kind: str, retry: float | None, request: ParsedRequest) -> Refusal:
        """Write an error response; a blocked prompt is a success without candidates."""
        match kind:
            case "policy":
                return _blocked(request)
            case "context":
                status, name = 400, "INVALID_ARGUMENT"
                said = (
                    f"The input token count ({max(request.prompt_tokens, WINDOW + 1)}) exceeds the maximum number of "
                    f"tokens allowed ({WINDOW})."
                )
            case "quota":
                status, name = 429, "RESOURCE_EXHAUSTED"
                said = "You exceeded your current quota, please check your plan and billing details."
            case "":
                name, said = _SAID[status]
            case message:
                name, said = _SAID[status][0], message
        error: dict[str, Any] = {"code": status, "message": said, "status": name}
        if retry is not None:
            # Gemini has no retry-after header.
            kind_of_detail = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind_of_detail, "retryDelay": f"{retry:g}s"}]
        return Refusal(status, dump({"error": error}))

    def limits(self, total: int, remaining: int) -> Headers:
        """Gemini shows no limits."""
        return ()

    def error_event(self) -> bytes:
        """An error inside a stream."""
        return b"data: " + self.error_body() + b"\n\n"

    def error_body(self) -> bytes:
        """An error in a body that calls itself a success."""
        return self.refusal(503, "", None, NOTHING).body


class Generate(_Errors):
    """POST /models/{model}:generateContent and :streamGenerateContent?alt=sse."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request, in camel or snake case."""
        body, tally, question = request.body, Tally(), ""
        model, _, verb = request.path.rpartition("/")[2].partition(":")
        if system := mapping_of(_get(body, "systemInstruction")):
            tally.message()
            _text(tally, system["parts"])
        parts: Sequence[Any] = ()
        for content in body["contents"]:
            tally.message()
            parts = content["parts"]
            said = _text(tally, parts)
            if content.get("role", "user") == "user":
                question = said
        tools = [
            Tool(each["name"], mapping_of(_get(each, "parametersJsonSchema") or each.get("parameters")))
            for tool in body.get("tools") or ()
            for each in _get(tool, "functionDeclarations") or ()
        ]
        tally.tools(len(tools))
        calling = mapping_of(_get(mapping_of(_get(body, "toolConfig")), "functionCallingConfig"))
        allowed = _get(calling, "allowedFunctionNames") or [""]
        answered = any(_get(part, "functionResponse") for part in parts)
        config = mapping_of(_get(body, "generationConfig"))
        as_json = _get(config, "responseMimeType") == "application/json"
        schema = mapping_of(_get(config, "responseJsonSchema") or _get(config, "responseSchema"))
        thinks = _get(mapping_of(_get(config, "thinkingConfig")), "includeThoughts")
        return ParsedRequest(
            model=model,
            digest=request.digest,
            stream=verb.startswith("stream"),
            question=question,
            prompt_tokens=tally.tokens,
            tools=() if answered or calling.get("mode") == "NONE" else tools,
            forced=text_of(allowed[0]),
            choices=_get(config, "candidateCount") or 1,
            cap=cap_of(_get(config, "maxOutputTokens")),
            stop=stops_of(_get(config, "stopSequences")),
            schema=schema if as_json else None,
            thoughts=THOUGHTS if thinks else 0,
            body=body,
        )

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The response."""
        given = answer(request, behaviour)
        thoughts = [_thought("".join(given.thoughts))] if given.thoughts else []
        candidates = [
            _candidate(index, (thoughts if index == 0 else []) + _parts(choice), _REASONS[choice.finish])
            for index, choice in enumerate(given.choices)
        ]
        shown = self._frame(request, candidates)
        if behaviour.usage:
            shown["usageMetadata"] = _usage(given.tokens, given.tokens.completion_tokens)
        return Plan([Part(dump(shown), given.tokens.completion_tokens)], given.tokens)

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """Responses in pieces, each with the usage so far."""
        given = answer(request, behaviour)
        hidden = given.tokens.reasoning_tokens - len(given.thoughts)
        steps = [(0, _thought(piece), 1) for piece in given.thoughts]
        for index, choice in enumerate(given.choices):
            steps += [(index, part, tokens) for part, tokens in _pieces(choice)]
        last = {index: at for at, (index, _, _) in enumerate(steps)}
        parts, sent = [], 0
        for at, (index, part, tokens) in enumerate(steps):
            # What is hidden costs, and goes with the first piece.
            carried = tokens + (hidden if at == 0 else 0)
            sent += carried
            reason = _REASONS[given.choices[index].finish] if last[index] == at else ""
            shown = self._frame(request, [_candidate(index, [part], reason)])
            if behaviour.usage:
                shown["usageMetadata"] = _usage(given.tokens, sent)
            parts.append(Part(event(shown), carried))
        return Plan(parts or [self._nothing(request, given)], given.tokens)

    def _nothing(self, request: ParsedRequest, given: Answer) -> Part:
        """The one event of an answer that the cap left empty."""
        spent = given.tokens.completion_tokens
        shown = self._frame(request, [_candidate(0, [], _REASONS[given.choices[0].finish])])
        return Part(event(shown | {"usageMetadata": _usage(given.tokens, spent)}), spent)

    def _frame(self, request: ParsedRequest, candidates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {"candidates": candidates, "modelVersion": request.model, "responseId": f"sim{request.digest}"}


class Embed(_Errors):
    """POST /models/{model}:embedContent and :batchEmbedContents."""

    def read(self, request: Request) -> ParsedRequest:
        """Understand a request."""
        tally = Tally()
        for each in self._requests(request.body):
            _text(tally, each["content"]["parts"])
            if not isinstance(_get(each, "outputDimensionality"), int | None):
                raise TypeError("outputDimensionality: expected an integer")
        return ParsedRequest(
            model=request.path.rpartition("/")[2].partition(":")[0],
            digest=request.digest,
            stream=False,
            question="",
            prompt_tokens=tally.tokens,
            body=request.body,
        )

    def whole(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """The vectors; Gemini reports no usage of them."""
        vectors = [
            {
                "values": vector(
                    _text(Tally(), each["content"]["parts"]), _get(each, "outputDimensionality") or DIMENSIONS
                )
            }
            for each in self._requests(request.body)
        ]
        shown = {"embeddings": vectors} if "requests" in request.body else {"embedding": vectors[0]}
        return Plan([Part(dump(shown))], Tokens(prompt_tokens=request.prompt_tokens))

    def stream(self, request: ParsedRequest, behaviour: Behaviour) -> Plan:
        """Embeddings have no stream."""
        return self.whole(request, behaviour)

    def _requests(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        requests: Sequence[Mapping[str, Any]] = body.get("requests", [body])
        return requests


def _get(given: Any, name: str) -> Any:
    """A member in camel case, or in the snake case that Google accepts as well."""
    if name in given:
        return given[name]
    return given.get("".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name))


def _text(tally: Tally, parts: Any) -> str:
    said = []
    for part in [parts] if isinstance(parts, Mapping) else parts:
        if isinstance(text := part.get("text"), str):
            said.append(tally.text(text))
        elif _get(part, "inlineData") or _get(part, "fileData"):
            tally.image()
    return " ".join(said)


def _candidate(index: int, parts: Sequence[Mapping[str, Any]], reason: str) -> dict[str, Any]:
    shown = {"index": index, "content": {"parts": parts, "role": "model"}}
    return shown | {"finishReason": reason} if reason else shown


def _thought(text: str) -> dict[str, Any]:
    return {"text": text, "thought": True}


def _parts(choice: Choice) -> list[dict[str, Any]]:
    return [part for part, _ in _pieces(choice)] if choice.calls else [{"text": choice.text}]


def _pieces(choice: Choice) -> list[tuple[dict[str, Any], int]]:
    """What a choice says, piece by piece; a function call comes in one."""
    called = [
        ({"functionCall": {"name": call.name, "args": parsed(call.arguments)}}, 1 + len(call.pieces))
        for call in choice.calls
    ]
    return [({"text": piece}, 1) for piece in choice.pieces] + called


def _usage(spent: Tokens, sent: int) -> dict[str, Any]:
    thought = min(spent.reasoning_tokens, sent)
    shown = {
        "promptTokenCount": spent.prompt_tokens,
        "candidatesTokenCount": sent - thought,
        "totalTokenCount": spent.prompt_tokens + sent,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": spent.prompt_tokens}],
    }
    # Unlike OpenAI's, thoughts are not among the candidates' tokens.
    if thought:
        shown["thoughtsTokenCount"] = thought
    if spent.cached_tokens:
        shown["cachedContentTokenCount"] = spent.cached_tokens
    return shown


def _blocked(request: ParsedRequest) -> Refusal:
    shown = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {
            "promptTokenCount": request.prompt_tokens,
            "totalTokenCount": request.prompt_tokens,
        },
        "modelVersion": request.model,
    }
    return Refusal(200, event(shown), (EVENTS,)) if request.stream else Refusal(200, dump(shown))
