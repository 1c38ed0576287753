"""Two answers to one request, compared by what can be counted; no text is kept."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.gateway.evaluation import texts
from services.gateway.mirroring.answers import Said

# Of an answer, in characters: the words of more are not compared.
MOST_CHARACTERS = 100_000
# How deep a schema is followed.
DEEPEST = 16
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Side:
    """What came of a request at one of the two.

    Attributes:
        model: The model that answered; empty where none did.
        failure: Why there is no answer; empty where there is one.
        latency_ms: From the beginning of its decision to the end of the answer.
        first_ms: The same to its first piece; None for one that was not streamed.
        cost_nano_usd: What it cost; None where a price is not known.
        said: The answer; None without one, and where it is too long to be compared.

    """

    model: str = ""
    failure: str = ""
    latency_ms: float = 0.0
    first_ms: float | None = None
    cost_nano_usd: int | None = None
    said: Said | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """What the answers of both have in common; None where it was not asked for, or one of them is missing.

    Attributes:
        tools_equal: Whether both call the same functions with equal arguments.
        json_valid: Whether the caller's answer is the JSON that was asked for.
        target_json_valid: Whether the target's is.
        similarity: The share of words in common, 0 to 1.

    """

    tools_equal: bool | None = None
    json_valid: bool | None = None
    target_json_valid: bool | None = None
    similarity: float | None = None


def compare(own: Side, target: Side, wanted: "Wanted") -> Compared:
    """Compare the answers, as far as there are any."""
    mine, other = own.said, target.said
    calls = bool((mine and mine.calls) or (other and other.calls))
    both = mine is not None and other is not None
    return Compared(
        tools_equal=_calls(mine) == _calls(other) if both and (calls or wanted.tools) else None,
        json_valid=wanted.fits(mine.text) if mine and wanted.json and not mine.calls else None,
        target_json_valid=wanted.fits(other.text) if other and wanted.json and not other.calls else None,
        similarity=similarity(mine.text, other.text) if mine and other and not calls else None,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """The form that a request asks for.

    Attributes:
        tools: Whether functions may be called.
        json: Whether the text must be JSON.
        schema: Of which schema; None for any object.

    """

    tools: bool = False
    json: bool = False
    schema: Any = None

    def fits(self, text: str) -> bool:
        """Whether a text is that JSON, and nothing else."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return False
        return isinstance(value, dict) if self.schema is None else fits_schema(value, self.schema)


def fits_schema(value: Any, schema: Any, depth: int = 0) -> bool:
    """Whether a value has the types, required names and listed values of a schema.

    Patterns, ranges and references are not looked at: this says that an answer has the form that was asked for.
    """
    if not isinstance(schema, dict) or depth > DEEPEST:
        return True
    listed = schema.get("enum")
    if isinstance(listed, list) and value not in listed:
        return False
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if names and not any(_is_of(value, name) for name in names):
        return False
    if isinstance(value, dict):
        return _fits_object(value, schema, depth)
    if isinstance(value, list):
        return all(fits_schema(one, schema.get("items"), depth + 1) for one in value)
    return True


def similarity(one: str, other: str) -> float:
    """The F1 of the words of two texts, as SQuAD compares answers: 1 has the same words as often, 0 none.

    It says how much two answers differ, and not which is better.
    """
    words, others = (Counter(texts.plain(text[:MOST_CHARACTERS]).split()) for text in (one, other))
    if not words and not others:
        return 1.0
    common = (words & others).total()
    return 2 * common / (words.total() + others.total())


def _fits_object(value: dict[str, Any], schema: dict[str, Any], depth: int) -> bool:
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list) and not all(name in value for name in required if isinstance(name, str)):
        return False
    known = properties if isinstance(properties, dict) else {}
    if schema.get("additionalProperties") is False and not value.keys() <= known.keys():
        return False
    return all(fits_schema(one, known.get(name), depth + 1) for name, one in value.items())


def _is_of(value: Any, name: Any) -> bool:
    kinds = TYPES.get(name, ()) if isinstance(name, str) else ()
    # True is an int to Python, and no number to JSON.
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _calls(said: Said | None) -> list[tuple[str, Any]]:
    """The calls in an order that both have, their arguments as values where they are JSON."""
    found = [(name, _value(arguments)) for name, arguments in (said.calls.values() if said else ())]
    return sorted(found, key=lambda call: (call[0], orjson.dumps(call[1], option=orjson.OPT_SORT_KEYS)))


def _value(arguments: str) -> Any:
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
