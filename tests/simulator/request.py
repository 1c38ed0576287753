"""A request as it came and as all formats understand it, and how its tokens are counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PER_MESSAGE, PER_TOOL, PER_IMAGE = 3, 8, 85


@dataclass(frozen=True, slots=True)
class Request:
    """What came: a JSON body, the path that may say more, and a name for the bytes."""

    body: dict[str, Any]
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request as all formats understand it.

    Args:
        model: The name in the request.
        digest: A name for the request's bytes, for ids.
        stream: Whether pieces are wanted as they come.
        question: The last user message.
        prompt_tokens: By the simulator's rule.
        tools: What may be called; empty when nothing may, or has been already.
        forced: The one function that must be called.
        parallel: Whether several may be called at once.
        choices: How many answers.
        cap: The most completion tokens of one answer; None is no cap.
        stop: Where an answer ends.
        schema: What JSON an answer must be; None is text.
        effort: How hard to think, in OpenAI's words.
        thoughts: How many tokens of thought are to be shown.
        body: The request's body.

    """

    model: str
    digest: str
    stream: bool
    question: str
    prompt_tokens: int
    tools: Sequence[Tool] = ()
    forced: str = ""
    parallel: bool = True
    choices: int = 1
    cap: int | None = None
    stop: Sequence[str] = ()
    schema: Mapping[str, Any] | None = None
    effort: str = ""
    thoughts: int = 0
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


NOTHING = ParsedRequest(model="", digest="", stream=False, question="", prompt_tokens=0)


class Tally:
    """Adds up a prompt's tokens."""

    def __init__(self) -> None:
        self.tokens = 0

    def message(self) -> None:
        """One more message."""
        self.tokens += PER_MESSAGE

    def tools(self, count: int) -> None:
        """So many tools."""
        self.tokens += PER_TOOL * count

    def image(self) -> None:
        """One image or file."""
        self.tokens += PER_IMAGE

    def text(self, text: str) -> str:
        """A text, handed back."""
        self.tokens += words(text)
        return text

    def parts(self, content: Any) -> str:
        """A message's content: text, or parts of which those with text are joined."""
        if isinstance(content, str):
            return self.text(content)
        said = []
        for part in content if isinstance(content, list) else ():
            if isinstance(part, str):
                said.append(self.text(part))
            elif not isinstance(part, Mapping):
                continue
            elif isinstance(text := part.get("text"), str):
                said.append(self.text(text))
            elif part.get("type") in ("tool_result", "function_call_output"):
                self.parts(part.get("content", part.get("output")))
            elif part.get("type") not in ("tool_use", "thinking", "redacted_thinking", "refusal"):
                self.image()
        return " ".join(said)


def words(text: str) -> int:
    """How many words."""
    return len(text.split())


def cap_of(*given: Any) -> int | None:
    """The first cap that is a number."""
    return next((value for value in given if isinstance(value, int) and not isinstance(value, bool)), None)


def stops_of(given: Any) -> tuple[str, ...]:
    """A stop or several."""
    if isinstance(given, str):
        return (given,)
    return tuple(each for each in given if isinstance(each, str) and each) if isinstance(given, list) else ()


def text_of(value: Any) -> str:
    """A string, or nothing."""
    return value if isinstance(value, str) else ""


def mapping_of(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, Mapping) else {}
