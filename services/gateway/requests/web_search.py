"""A request to search the web, in one form and with a bound: the tool that providers run, with its most uses.

Callers ask for it by Anthropic's tool or by OpenAI's `web_search_options`. What names no bound gets that of the plan.
"""

from typing import Any

from services.chassis.errors import Invalid
from services.chassis.hosted_tools import SEARCH_TYPE, Allowed

OPTIONS = "web_search_options"
# How many searches OpenAI's sizes stand for, as LiteLLM translates them for Anthropic.
SIZES = {"low": 1, "medium": 5, "high": 10}


def bound(body: dict[str, Any], allowed: Allowed) -> None:
    """Put a request for searches that the plan allows into one form; all else is left for the check to refuse.

    Raises:
        Invalid: the options are not OpenAI's.
    """
    if not allowed.web_search:
        return
    tools = body.get("tools")
    if isinstance(tools, list) and any(_unbounded(one) for one in tools):
        tools = [{**one, "max_uses": allowed.web_search} if _unbounded(one) else one for one in tools]
        body["tools"] = tools
    if body.get(OPTIONS) is None:
        return
    options = body.pop(OPTIONS)
    if not isinstance(options, dict):
        raise Invalid(f"{OPTIONS}: expected an object", param=OPTIONS)
    tool = {"type": SEARCH_TYPE, "name": "web_search", "max_uses": _uses(options, allowed)}
    if options.get("user_location") is not None:
        tool["user_location"] = _location(options["user_location"])
    body["tools"] = [*(tools if isinstance(tools, list) else ()), tool]


def _unbounded(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == SEARCH_TYPE and tool.get("max_uses") is None


def _uses(options: dict[str, Any], allowed: Allowed) -> int:
    size = options.get("search_context_size")
    if size is None:
        return allowed.web_search
    if not isinstance(size, str) or size not in SIZES:
        field = f"{OPTIONS}.search_context_size"
        raise Invalid(f"{field}: expected one of {', '.join(SIZES)}", param=field)
    return min(SIZES[size], allowed.web_search)


def _location(given: Any) -> dict[str, Any]:
    """OpenAI nests what Anthropic has beside the type."""
    if not isinstance(given, dict) or not isinstance(given.get("approximate"), dict):
        field = f"{OPTIONS}.user_location"
        raise Invalid(f"{field}: expected an object with approximate", param=field)
    return {"type": "approximate", **given["approximate"]}
