"""What a request may not ask of a provider: tools that the provider runs, and state that it keeps.

A hosted tool is billed by the use, beside the tokens that a reservation covers; one call can cost more than a budget.
State lies in the provider's account, which all tenants share. So tools are functions, which the caller runs, and the
fields that spend or keep are refused by name. All other fields that Lumni does not know pass.

A plan may allow two of them. Searches of the web, where the provider takes a bound on them with the request and counts
them in its usage, so that they can be reserved and booked. And `store`, which costs nothing. What is named by an id
stays refused: nobody here knows how many tokens lie behind it.

The gateway checks what callers send, and the executor whatever it is given, with this one list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import Invalid
from services.chassis.operations import Operation

REASON = "UNSUPPORTED_PARAMETER"
# More than any provider takes: each is looked at, on the event loop.
MAX_FIELDS = 256
MAX_TOOLS = 1024
MAX_TURNS = 4096
MAX_PARTS = 8192
# How deep parts may lie in parts: those of a tool's result lie three levels deep.
DEEPEST = 8
# A search of the web by the provider, as Anthropic names it, and all that may be said of it.
SEARCH_TYPE = "web_search_20250305"
_SEARCH_FIELDS = frozenset("type name max_uses allowed_domains blocked_domains user_location".split())
# The providers that take a bound on searches and count them; others may search as often as they like for one request.
BOUNDS_SEARCHES = frozenset(("anthropic",))

_HOSTED = "the provider would run and bill a tool of its own, which no budget covers; use function tools"
_STATE = "it names or keeps state in the provider's account, which all callers share; send the content itself"
_PRICE = "it changes what the provider bills, past the prices that budgets are reserved with"

# By what is wrong with them, in snake_case; any other spelling of the same words is found, too.
_FIELDS: Mapping[str, str] = {
    _HOSTED: """
        web_search web_search_options search_parameters search_settings search_options enable_search
        force_search_enhancement enable_enhancement google_search google_search_retrieval google_maps
        enterprise_web_search code_execution code_interpreter enable_code_interpreter url_context computer_use
        compound_custom mcp_servers connectors data_sources enhancements plugins guardrail_config
        include_server_side_tool_invocations skills
    """,
    _STATE: """
        store background deferred previous_response_id conversation conversation_id thread_id assistant_id
        agent_id container container_id vector_store_id vector_store_ids file_id file_ids file_search cached_content
        user_profile_id workspace_id
    """,
    _PRICE: "context_management speed inference_geo performance_config",
}
# What these words mean where an operation has a field of that name: how fast a text is spoken, and what lies behind the
# subject of a picture.
_HARMLESS: Mapping[Operation, str] = {
    Operation.AUDIO_SPEECH: "speed",
    Operation.IMAGE_GENERATION: "background",
}
# Objects whose fields some clients and providers merge into the body.
_NESTS = """
    extra_body provider_options generation_config additional_model_request_fields model_kwargs google vertex_ai
    allowed_openai_params
"""
# All of a tool that a caller runs, in the formats of chat completions, responses and messages. Nothing else passes: to
# LiteLLM an unknown single field of a tool is the name of one of Gemini's.
_TOOL_FIELDS = frozenset(
    """
    type function custom name description parameters strict input_schema cache_control format input_examples
    """.split()
)
_TOOL_TYPES = (None, "function", "custom")
_NAMESPACE_FIELDS = frozenset("type name description tools".split())
_FUNCTION_FIELDS = frozenset("name description parameters strict".split())
# What in a part of a message names something that the provider keeps.
_IDS = frozenset(("file_id", "file_ids", "file_uri", "container_id", "vector_store_id"))


def _words(name: str) -> str:
    """A name without what spellings differ in: `webSearchOptions` and `WEB-SEARCH-OPTIONS` are the same."""
    return name.replace("_", "").replace("-", "").lower()


_REFUSED = {_words(name): why for why, names in _FIELDS.items() for name in names.split()}
_NESTED = frozenset(_words(name) for name in _NESTS.split())
_LONGEST = max(map(len, [*_REFUSED, *_NESTED])) * 2


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a plan allows beside function tools.

    Args:
        web_search: The most searches of the web for one answer; 0 allows none.
        store: Whether an answer may be kept in the provider's account.

    """

    web_search: int = 0
    store: bool = False


NOTHING = Allowed()


def check(
    body: Mapping[str, Any],
    *,
    turns: str = "",
    operation: Operation | None = None,
    allowed: Allowed = NOTHING,
) -> None:
    """Refuse what a provider would spend or keep beside the tokens of an answer.

    Args:
        body: A request, before or after it is validated.
        turns: The field that holds messages, or items of OpenAI's responses; empty where there is none.
        operation: What it asks for, if that has a field by one of the refused names.
        allowed: What passes all the same.

    Raises:
        Invalid: names the field and why it is refused.

    """
    harmless = _HARMLESS.get(operation) if operation else None
    waiting: list[tuple[str, Mapping[str, Any]]] = [("", body)]
    while waiting:
        prefix, fields = waiting.pop()
        if len(fields) > MAX_FIELDS:
            raise Invalid(f"{prefix or 'body'}: expected at most {MAX_FIELDS} fields", param=prefix or None)
        for name, value in fields.items():
            words = _words(name) if len(name) <= _LONGEST else ""
            # As the provider spells it, and no other way: what another spelling does there is not known.
            if (prefix + name == "store" and allowed.store) or prefix + name == harmless:
                continue
            if prefix + name == "context_management" and _only_clears(value):
                continue
            if words in _REFUSED and not _is_off(value):
                raise _refused(prefix + name, _REFUSED[words])
            if words in _NESTED and isinstance(value, Mapping):
                waiting.append((f"{prefix}{name}.", value))
            elif words == "tools" and value is not None:
                here = allowed if prefix + name == "tools" else NOTHING
                grouped = prefix + name == "tools" and turns == "input"
                _check_tools(_list(value, prefix + name), prefix + name, here, grouped=grouped)
            elif words == "functions" and value is not None:
                _check_functions(_list(value, prefix + name), prefix + name)
            elif words == "prompt" and isinstance(value, Mapping):
                raise _refused(prefix + name, _STATE)
    if turns and isinstance(items := body.get(turns), list):
        _check_turns(items, turns)


def _is_off(value: Any) -> bool:
    """Whether a field says no; an empty object says yes, with the provider's defaults."""
    return value is None or value is False or value == []


def _only_clears(value: Any) -> bool:
    """Whether this asks Anthropic to leave old results and thoughts out of a prompt, and for nothing that it bills.

    Another edit has the model summarize the conversation, which is a second answer.
    """
    edits = value.get("edits") if isinstance(value, Mapping) and set(value) == {"edits"} else None
    return isinstance(edits, list) and all(
        isinstance(edit, Mapping) and str(edit.get("type")).startswith("clear_") for edit in edits
    )


def _list(value: Any, field: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise Invalid(f"{field}: expected a list", param=field)
    return value


def searches(body: Mapping[str, Any]) -> int:
    """How often the web may be searched for the answer to a request that was checked."""
    tools = body.get("tools")
    found = (one["max_uses"] for one in tools or () if one.get("type") == SEARCH_TYPE)
    return int(next(found, 0))


def _check_tools(
    tools: Sequence[Any], field: str, allowed: Allowed = NOTHING, *, grouped: bool = False
) -> None:
    """Refuse tools that a caller does not run; those of OpenAI's responses may be grouped in namespaces."""
    if len(tools) > MAX_TOOLS:
        raise Invalid(f"{field}: expected at most {MAX_TOOLS}", param=field)
    searching = False
    for number, tool in enumerate(tools):
        place = f"{field}[{number}]"
        if not isinstance(tool, Mapping):
            raise Invalid(f"{place}: expected an object", param=place)
        kind = tool.get("type")
        if kind == SEARCH_TYPE and allowed.web_search:
            _check_search(tool, place, 0 if searching else allowed.web_search)
            searching = True
            continue
        if kind == "namespace" and grouped:
            if unknown := next((name for name in tool if name not in _NAMESPACE_FIELDS), None):
                raise _refused(f"{place}.{unknown[:64]}", _HOSTED)
            _check_tools(_list(tool.get("tools"), f"{place}.tools"), f"{place}.tools")
            continue
        if kind not in _TOOL_TYPES:
            raise _refused(f"{place}.type", f"{str(kind)[:64]!r} is no function; {_HOSTED}")
        if unknown := next((name for name in tool if name not in _TOOL_FIELDS), None):
            raise _refused(f"{place}.{unknown[:64]}", _HOSTED)
        if not any(name in tool for name in ("function", "custom", "name")):
            raise Invalid(f"{place}: expected an object with a function", param=place)


def _check_search(tool: Mapping[str, Any], place: str, most: int) -> None:
    if not most:
        raise Invalid(f"{place}: the web is searched by one tool; leave the second out", param=place)
    if unknown := next((name for name in tool if name not in _SEARCH_FIELDS), None):
        raise _refused(f"{place}.{unknown[:64]}", _HOSTED)
    uses = tool.get("max_uses")
    if isinstance(uses, bool) or not isinstance(uses, int) or not 1 <= uses <= most:
        raise Invalid(
            f"{place}.max_uses: expected a whole number from 1 to {most}", param=f"{place}.max_uses"
        )


def _check_functions(functions: Sequence[Any], field: str) -> None:
    if len(functions) > MAX_TOOLS:
        raise Invalid(f"{field}: expected at most {MAX_TOOLS}", param=field)
    for number, function in enumerate(functions):
        place = f"{field}[{number}]"
        if not isinstance(function, Mapping) or "name" not in function:
            raise Invalid(f"{place}: expected an object with a name", param=place)
        if unknown := next((name for name in function if name not in _FUNCTION_FIELDS), None):
            raise _refused(f"{place}.{unknown[:64]}", _HOSTED)


def _check_turns(turns: Sequence[Any], field: str) -> None:
    if len(turns) > MAX_TURNS:
        raise Invalid(f"{field}: expected at most {MAX_TURNS}", param=field)
    parts = _Parts(field)
    for number, turn in enumerate(turns):
        if isinstance(turn, dict) and (kept := _kept_in(turn, parts)):
            raise _refused(f"{field}[{number}].{kept}", _STATE)


def _kept_in(turn: dict[str, Any], parts: "_Parts") -> str:
    """The field of a message or item that names what the provider keeps; empty where there is none."""
    if turn.get("type") == "item_reference":
        return "type"
    # A past answer's sound, of a length that nobody here knows.
    if isinstance(audio := turn.get("audio"), dict) and audio.get("id") is not None:
        return "audio.id"
    return parts.kept_in(turn, DEEPEST)


class _Parts:
    """Looks through parts, of a bounded number in all."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._left = MAX_PARTS

    def kept_in(self, part: dict[str, Any], levels: int) -> str:
        """The field of a part that names what the provider keeps; empty where there is none.

        Read are its source, the object named like its type and its own parts; a tool's input is the caller's own.
        """
        if not levels:
            # No format nests so deep, so nobody knows what it means.
            return next(iter(part), "content")
        if not _IDS.isdisjoint(part):
            name = next((one for one in _IDS if part.get(one) is not None), "")
            if name:
                return name
        kind = part.get("type")
        for name in ("source", kind if isinstance(kind, str) and kind != "input" else ""):
            if isinstance(held := part.get(name), dict) and (kept := self.kept_in(held, levels - 1)):
                return f"{name}.{kept}"
        for name in ("content", "images"):
            if isinstance(parts := part.get(name), list) and (kept := self._kept_among(parts, levels - 1)):
                return f"{name}{kept}"
        return ""

    def _kept_among(self, parts: list[Any], levels: int) -> str:
        self._left -= len(parts)
        if self._left < 0:
            raise Invalid(f"{self._field}: expected at most {MAX_PARTS} parts in all", param=self._field)
        for number, part in enumerate(parts):
            if isinstance(part, dict) and (kept := self.kept_in(part, levels)):
                return f"[{number}].{kept}"
        return ""


def _refused(field: str, why: str) -> Invalid:
    return Invalid(f"{field}: refused, as {why}", reason=REASON, param=field)
