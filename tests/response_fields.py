"""What becomes of each field of an answer, found out by asking: the tables of answers in docs/api.md.

python -m tests.response_fields writes them; a test compares. A provider sends all that it documents
(tests/provider_answers.py), and then the same with one value changed: what changes in the caller's answer is made of it.
"""

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import orjson

from services.chassis.operations import Operation
from services.executor.bridges import calling
from services.executor.engines.base import Call, Engine, File
from services.executor.formats.factory import response_format
from tests import api_fields
from tests import provider_answers as answers
from tests.executor.fleet import deployment
from tests.provider_answers import Answer

BEGIN, END = "<!-- answer tables: tests/response_fields.py -->\n", "<!-- end of the answer tables -->\n"
# A provider, a model of its, what else its deployment says, and what it answers.
Column: TypeAlias = tuple[str, str, dict[str, Any], Sequence[Answer]]
# The fields of an answer with all values of each.
Fields: TypeAlias = dict[str, list[Any]]
# Where in an answer a value stands.
Place: TypeAlias = tuple[str | int, ...]
_CHATS: Mapping[str, Column] = {
    "OpenAI": ("openai", "gpt-4o", {}, answers.CHAT),
    "vLLM": ("hosted_vllm", "m", {}, answers.CHAT),
    "Anthropic": ("anthropic", "claude-sonnet-4-5", {}, answers.MESSAGE),
    "Gemini": ("gemini", "gemini-2.5-flash", {}, answers.GENERATED),
}
COLUMNS: Mapping[Operation, Mapping[str, Column]] = {
    Operation.CHAT: _CHATS,
    Operation.COMPLETIONS: {
        **_CHATS,
        "OpenAI": ("openai", "gpt-3.5-turbo-instruct", {"mode": "completion"}, answers.COMPLETION),
    },
    Operation.EMBEDDINGS: {
        "OpenAI": ("openai", "text-embedding-3-small", {}, answers.EMBEDDINGS),
        "vLLM": ("hosted_vllm", "m", {}, answers.EMBEDDINGS),
        "Gemini": ("gemini", "gemini-embedding-001", {}, answers.EMBEDDED),
    },
    Operation.MESSAGES: _CHATS,
    Operation.RESPONSES: {**_CHATS, "OpenAI": ("openai", "gpt-4o", api_fields.OPENAI, answers.RESPONSE)},
    **{
        operation: {name: (*api_fields.OTHERS[operation][name], given) for name in ("OpenAI", *others)}
        for operation, others, given in (
            (Operation.MODERATIONS, ("vLLM", "Mistral"), answers.MODERATION),
            (Operation.IMAGE_GENERATION, ("Azure", "vLLM"), answers.IMAGES),
            (Operation.AUDIO_TRANSCRIPTION, ("Azure", "vLLM", "Groq"), answers.TRANSCRIPTION),
        )
    },
}
# Who speaks an operation's own format, and so shows which fields it has.
OWN: Mapping[Operation, str] = {**dict.fromkeys(COLUMNS, "OpenAI"), Operation.MESSAGES: "Anthropic"}
# What holds fields that are told apart; all others are fields, whatever is in them.
OPEN = frozenset(
    """
    choices message function function_call tool_calls data output content usage prompt_tokens_details
    completion_tokens_details input_tokens_details output_tokens_details cache_creation server_tool_use
    input_token_details candidates parts functionCall usageMetadata embeddings results
    """.split()
)
# Kinds of items that are fields as a whole: of tools, but those that callers have themselves.
CLOSED = frozenset("custom server_tool_use web_search_tool_result".split())
# A field that no format knows.
ANY = "an_extension"
# What says of which kind a part is; another one would be another answer.
KINDS = frozenset("type object role".split())
# Made anew for each answer, unless it says what the provider's says.
_FRESH = ("id", "created", "_at")
# What other words a value may have; all others are changed to what nobody says.
_OTHER_WORDS: Mapping[Any, Any] = {
    "stop": "length",
    "tool_calls": "length",
    "function_call": "length",
    "end_turn": "max_tokens",
    "tool_use": "max_tokens",
    "stop_sequence": "max_tokens",
    "refusal": "max_tokens",
    "STOP": "MAX_TOKENS",
    "completed": "incomplete",
    '{"city":"Paris"}': '{"city":"Rome"}',
}


class Provider:
    """A server that gives the same answer to every request."""

    def __init__(self) -> None:
        self.answer = b""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(self.answer), self.answer))
        writer.close()


@asynccontextmanager
async def answering() -> AsyncIterator[Provider]:
    """Run a provider on this event loop."""
    one = Provider()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server:
        one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield one


def fields_of(answer: Answer) -> Iterator[tuple[str, Place, Any]]:
    """The fields of an answer with their places and values; items of a list are told apart by their types."""
    yield from _fields(answer, "", ())


def _fields(part: Any, path: str, place: Place) -> Iterator[tuple[str, Place, Any]]:
    if isinstance(part, Mapping):
        for name, value in part.items():
            inner, at = f"{path}.{name}".removeprefix("."), (*place, name)
            if name not in OPEN or not isinstance(value, Mapping | list):
                if name not in KINDS:
                    yield inner, at, value
            elif isinstance(value, Mapping):
                yield from _fields(value, inner, at)
            else:
                yield from _items(value, inner, at)


def _items(items: list[Any], path: str, place: Place) -> Iterator[tuple[str, Place, Any]]:
    for at, item in enumerate(items):
        kind = item.get("type", "") if isinstance(item, Mapping) else ""
        if kind in CLOSED or not isinstance(item, Mapping):
            yield f"{path}[{kind}]", (*place, at), item
        else:
            yield from _fields(item, f"{path}[{kind}]", (*place, at))


def told(answer: Answer) -> Fields:
    """The fields of an answer that say something."""
    found: Fields = {}
    for name, _, value in fields_of(answer):
        if value not in (None, "", [], {}):
            found.setdefault(name, []).append(value)
    return found


def changed(answer: Answer) -> Iterator[tuple[str, Answer]]:
    """The answer with another value in one of its fields, and that field's name."""
    for name, place, value in fields_of(answer):
        if (other := _other(value)) != value and not (is_fresh(name) and isinstance(value, int)):
            whole: Any = copy.deepcopy(answer)
            part = whole
            for step in place[:-1]:
                part = part[step]
            part[place[-1]] = other
            yield name, whole


def _other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, Mapping):
        return {name: inner if name in KINDS else _other(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_other(inner) for inner in value]
    if value is None:
        return None
    if isinstance(value, bool):
        return not value
    return _OTHER_WORDS.get(value, value + "2") if isinstance(value, str) else value + 1


def is_fresh(name: str) -> bool:
    """Whether a field's values are made anew for each answer."""
    return name.endswith(_FRESH)


async def answered(
    engine: Engine, provider: Provider, operation: Operation, column: Column, answer: Answer
) -> Fields:
    """What the caller gets of a provider's answer."""
    name, model, more, _ = column
    found = deployment(provider.url, name, model, **{"capabilities": api_fields.ABLE, **more})
    body = {**api_fields.BASES[operation], "model": "public"}
    provider.answer = orjson.dumps(answer)
    sound = api_fields.SOUND
    file = (
        File(sound.name, sound.content_type, sound.content)
        if operation is Operation.AUDIO_TRANSCRIPTION
        else None
    )
    call = Call(found, "sk-provider-key", operation, body, stream=False, timeout_s=20, file=file)
    read = response_format(operation, found.model, body)
    async with aclosing(calling.pieces(engine, call)) as pieces:
        texts = [read.whole(piece).text async for piece in pieces]
    return told(orjson.loads(texts[0]))


class Outcome:
    """What became of the fields of a provider's answers.

    Attributes:
        given: What the provider said.
        shown: What the caller was told.
        sources: For each field of the caller's the provider's fields that it is made of.

    """

    def __init__(self) -> None:
        self.given: Fields = {}
        self.shown: Fields = {}
        self.carried: set[str] = set()
        self.sources: dict[str, set[str]] = {}

    def add(self, given: Fields, shown: Fields) -> None:
        """Note an answer."""
        self.given.update(given)
        self.shown.update(shown)
        self.carried |= {name for name, values in shown.items() if values == given.get(name)}
        for name, values in shown.items():
            if is_fresh(name):
                # A time or an id.
                self.sources.setdefault(name, set()).update(
                    source for source, said in given.items() if any(_within(one, values) for one in said)
                )

    def compare(self, source: str, before: Fields, after: Fields) -> None:
        """Note what has changed with a provider's field."""
        for name in before.keys() | after.keys():
            if not is_fresh(name) and before.get(name) != after.get(name):
                self.sources.setdefault(name, set()).add(source)
                self.shown.setdefault(name, after.get(name, []))

    def of(self, name: str) -> str:
        """What became of one field."""
        if name in self.carried:
            return "carried"
        if self.sources.get(name):
            return "translated"
        if name in self.shown:
            return "made"
        return "dropped" if name in self.given else "none"

    @property
    def lost(self) -> list[str]:
        """The provider's fields of which the caller is told nothing."""
        used = set().union(*self.sources.values()) | self.carried
        return [name for name in self.given if name not in used]


def _within(said: Any, values: list[Any]) -> bool:
    """Whether an id of the provider's is part of one of the caller's, or a time of its one of them."""
    if isinstance(said, str):
        return "canary" in said and any(said.partition("canary")[1] in str(value) for value in values)
    return said in values


async def outcome(engine: Engine, provider: Provider, operation: Operation, column: Column) -> Outcome:
    """What becomes of all that a provider answers."""
    found = Outcome()
    for answer in column[-1]:
        before = await answered(engine, provider, operation, column, answer)
        found.add(told(answer), before)
        for source, other in changed(answer):
            found.compare(source, before, await answered(engine, provider, operation, column, other))
    return found


def _table(operation: Operation, found: Mapping[str, Outcome]) -> Iterator[str]:
    # What was spent stands last, whichever answer was the first to say it.
    rows = sorted(found[OWN[operation]].given, key=lambda row: (row == ANY, row.startswith("usage.")))
    yield from (f"### Answers of {operation}", "", f"| field | {' | '.join(found)} |")
    yield "| --- |" + " --- |" * len(found)
    for row in rows:
        name = "any other" if row == ANY else f"`{row}`"
        yield f"| {name} | {' | '.join(one.of(row) for one in found.values())} |"
    yield ""
    for said in ("lost", "shown"):
        alike: dict[str, list[str]] = {}
        for name, one in found.items():
            if beside := [f"`{field}`" for field in getattr(one, said) if field not in rows]:
                alike.setdefault(", ".join(beside), []).append(name)
        begin = "Not shown of" if said == "lost" else "Beside these fields, by"
        for beside_these, names in alike.items():
            yield f"- {begin} {', '.join(names)}: {beside_these}."
    yield ""


async def tables() -> str:
    """A table for each operation."""
    lines: list[str] = []
    async with answering() as provider, api_fields.engine() as engine:
        for operation, columns in COLUMNS.items():
            found = {
                name: await outcome(engine, provider, operation, column) for name, column in columns.items()
            }
            lines += _table(operation, found)
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    document, made = api_fields.DOCUMENT.read_text(), asyncio.run(tables())
    api_fields.DOCUMENT.write_text(api_fields.written(document, made, BEGIN, END))
