"""What a bridge is: a body made a chat's, and a chat's answer made that of another operation."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from services.executor.engines.outcomes import ErrorClass, Failed


class Bridge(Protocol):
    """One call of an operation, made as a chat completion."""

    @property
    def body(self) -> dict[str, Any]:
        """The body of the chat completion."""

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a call without a stream, in the operation's format."""

    def events(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What a chunk of the chat's stream becomes; perhaps nothing, perhaps several events."""

    def end(self, *, done: bool) -> Iterator[dict[str, Any]]:
        """What follows the last chunk; `done` says whether the provider marked the stream as ended.

        Where the answer is not whole nothing does, and so its format finds the stream cut.
        """


def unsupported(field: str, why: str) -> Failed:
    """A field that a chat completion cannot express; another candidate may."""
    return Failed(ErrorClass.UNSUPPORTED, f"{field}: {why}", param=field)


def taken(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The fields of a body that are the same in a chat completion."""
    return {name: body[name] for name in names if body.get(name) is not None}


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one in its place."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing of anything else."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
