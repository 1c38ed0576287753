"""What a version of a prompt says: messages or a partial's text, declared variables, and defaults of a request."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from services.chassis.errors import Invalid
from services.gateway.prompts import template, variables
from services.gateway.prompts.template import Renderer
from services.gateway.prompts.variables import Variable

MOST_MESSAGES = 64
# Of a version as JSON, in bytes; what admins send is no longer.
MOST_CONTENT = 256 * 1024
ROLES = ("system", "developer", "user", "assistant", "tool")
FIELDS = ("messages", "variables", "model", "parameters", "tools", "response_format")
# What a version says elsewhere, or only a request can say.
NOT_PARAMETERS = frozenset(
    ("messages", "model", "tools", "response_format", "prompt", "stream", "stream_options", "lumni", "cache")
)


class Kind(StrEnum):
    """What a stored template is for."""

    PROMPT = "prompt"
    # A text that templates include.
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Content:
    """A checked version.

    Attributes:
        given: The version as it is stored and shown.
        variables: What a request may and must give.
        partials: The partials that its templates name.

    """

    given: Mapping[str, Any]
    variables: Mapping[str, Variable]
    partials: frozenset[str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to render one version of a prompt.

    Attributes:
        prompt_id: The prompt's id.
        name: Its name.
        version: The version's number.
        content: What the version says.
        partials: The texts of all partials that it needs, by the names that templates give them.

    """

    prompt_id: str
    name: str
    version: int
    content: Content
    partials: Mapping[str, str] = field(default_factory=dict)

    def render(self, given: Any) -> dict[str, Any]:
        """The chat request that it becomes.

        Args:
            given: The values of variables, as a request has them.

        Raises:
            Invalid: names the variable that is wrong, or the bound that is crossed.
        """
        renderer = Renderer(variables.values(self.content.variables, given), self.partials)
        said = self.content.given
        body: dict[str, Any] = {
            **said.get("parameters", {}),
            "messages": rendered(renderer, said["messages"]),
        }
        return body | {name: said[name] for name in ("model", "tools", "response_format") if name in said}


def parse(given: Any, kind: Kind) -> Content:
    """Check a version.

    Raises:
        Invalid: names the field and what is expected there.
    """
    if not isinstance(given, dict):
        raise Invalid("content: expected an object", param="content")
    if len(orjson.dumps(given)) > MOST_CONTENT:
        raise Invalid(f"content: expected at most {MOST_CONTENT} bytes of JSON", param="content")
    if kind is Kind.PARTIAL:
        return _partial(given)
    for name in given:
        if name not in FIELDS:
            raise Invalid(
                f"content.{name[:64]}: unknown; expected one of {', '.join(FIELDS)}",
                param=f"content.{name[:64]}",
            )
    declared = variables.declared(given.get("variables", {}))
    used = [template.check(text, place) for place, text in _templates(given.get("messages"))]
    for one in used:
        if strangers := sorted(one.names - declared.keys()):
            raise Invalid(
                f"variables: {strangers[0][:64]} stands in a message and is not declared", param="variables"
            )
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Invalid("parameters: expected an object", param="parameters")
    for name in parameters:
        if name in NOT_PARAMETERS:
            raise Invalid(f"parameters.{name}: is no parameter of a version", param=f"parameters.{name}")
    return Content(given, declared, frozenset().union(*(one.partials for one in used)))


def rendered(renderer: Renderer, value: Any) -> Any:
    """A message, or a part of one, with each text rendered but the names of roles and types."""
    if isinstance(value, str):
        return renderer.render(value) if "{{" in value else value
    if isinstance(value, list):
        return [rendered(renderer, one) for one in value]
    if isinstance(value, dict):
        return {
            name: one if name in ("role", "type") else rendered(renderer, one) for name, one in value.items()
        }
    return value


def _partial(given: Mapping[str, Any]) -> Content:
    if given.keys() != {"text"} or not isinstance(given["text"], str):
        raise Invalid("content: a partial is an object with a text and nothing else", param="content.text")
    return Content(given, {}, template.check(given["text"], "content.text").partials)


def _templates(messages: Any) -> Iterator[tuple[str, str]]:
    """All templates of the messages, each with its place."""
    if not isinstance(messages, list) or not 0 < len(messages) <= MOST_MESSAGES:
        raise Invalid(f"messages: expected a list of 1 to {MOST_MESSAGES} messages", param="messages")
    for i, message in enumerate(messages):
        place = f"messages[{i}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise Invalid(f"{place}.role: expected one of {', '.join(ROLES)}", param=f"{place}.role")
        if not message.get("content") and "tool_calls" not in message:
            raise Invalid(f"{place}.content: expected a text or a list of parts", param=f"{place}.content")
        yield from texts(message, place)


def texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """All texts of messages or of a part of them, each with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from texts(one, f"{place}.{name[:64]}")
    elif isinstance(value, Iterable):
        for i, one in enumerate(value):
            yield from texts(one, f"{place}[{i}]")
