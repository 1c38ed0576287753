"""Settings from the environment: one frozen dataclass per process, every mistake named at once.

@dataclass(frozen=True)
class Settings:
    listen: str = variable("LUMNI_LISTEN", "127.0.0.1:50051", "address of the gRPC server")
    server: rpc.Settings = part()

settings = from_environ(Settings, environment())
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

S = TypeVar("S")
# Behind a variable: the file that holds its value.
IN_FILE = "_FILE"
# Variables of ours; those of clouds' libraries may end so, and mean something else.
_STORES = ("DATABASE_URL", "REDIS_URL")


class Secret:
    """A value that appears neither in logs nor in tracebacks."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, for the one place that needs it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


class Secrets(Secret):
    """A secret, and those that it takes the place of: `new,old`, separated by commas.

    The first is what `reveal` gives: what is made or sent. All of them are accepted, so that replicas that were
    restarted and replicas that were not understand each other while a secret is replaced.
    """

    __slots__ = ("accepted",)

    def __init__(self, value: str) -> None:
        self.accepted = tuple(Secret(one) for one in _words(value))
        super().__init__(self.accepted[0].reveal() if self.accepted else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secrets) and self.accepted == other.accepted

    def __hash__(self) -> int:
        return hash(self.accepted)


class Mistakes(ValueError):
    """Settings that cannot be used, one line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def variable(name: str, default: Any = MISSING, doc: str = "") -> Any:
    """Declare a field that is read from the environment variable `name`; required without a default."""
    metadata = {"variable": name, "doc": doc}
    if default is MISSING:
        return field(metadata=metadata, kw_only=True)
    return field(default=default, metadata=metadata, kw_only=True)


def part() -> Any:
    """Declare a field that is itself a class of settings."""
    return field(metadata={"part": True}, kw_only=True)


def _flag(text: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in words:
        raise ValueError("expected true or false")
    return words[text.lower()]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


PARSERS: Mapping[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: _flag,
    Path: Path,
    Secret: Secret,
    Secrets: Secrets,
    tuple[str, ...]: _words,
}
EXPECTED: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def from_environ(kind: type[S], environ: Mapping[str, str]) -> S:
    """Read settings; an empty variable counts as unset.

    Raises:
        Mistakes: one line for each variable that is missing or unreadable.

    """
    mistakes: list[str] = []
    settings = _read(kind, environ, mistakes)
    if mistakes:
        raise Mistakes(mistakes)
    return settings


def reader(
    kind: type[S], completed: Callable[[Mapping[str, str]], Mapping[str, str]] = dict
) -> Callable[[Mapping[str, str]], S]:
    """What reads such settings from an environment, as `from_environ`, once `completed` has added to it."""
    return lambda environ: from_environ(kind, completed(environ))


def _read(kind: type[S], environ: Mapping[str, str], mistakes: list[str]) -> S:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint = hints[item.name]
        if item.metadata.get("part"):
            values[item.name] = _read(hint, environ, mistakes)
            continue
        name = item.metadata["variable"]
        text = environ.get(name, "")
        if text:
            try:
                values[item.name] = PARSERS[hint](text)
            except ValueError:
                # The value is not shown: it may be a secret put into the wrong variable.
                mistakes.append(
                    f"{name}: expected {EXPECTED.get(hint, 'another value')} ({item.metadata['doc']})"
                )
        elif item.default is MISSING:
            mistakes.append(f"{name}: is not set ({item.metadata['doc']})")
    if mistakes:
        return None  # type: ignore[return-value]
    try:
        return kind(**values)
    except ValueError as error:
        mistakes.append(str(error))
        return None  # type: ignore[return-value]


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment, with the values that files hold in place of the variables that name these.

    LUMNI_ADMIN_KEY_FILE stands for LUMNI_ADMIN_KEY, as orchestrators mount secrets and images of databases read them.

    Raises:
        Mistakes: a file cannot be read, or the variable itself is set as well.
    """
    found, mistakes = dict(environ), []
    for file_variable, path in environ.items():
        name = file_variable.removesuffix(IN_FILE)
        if name == file_variable or not _is_ours(name):
            continue
        del found[file_variable]
        if path and environ.get(name):
            mistakes.append(f"{name} and {file_variable}: set one of them")
        elif path:
            try:
                found[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                mistakes.append(f"{file_variable}: {path} cannot be read: {reason}")
    if mistakes:
        raise Mistakes(mistakes)
    return found


def _is_ours(name: str) -> bool:
    return name.startswith("LUMNI_") or name.endswith("_API_KEY") or name in _STORES


def from_environ_or_exit(kind: type[S]) -> S:
    """Read settings at start, or exit naming every mistake."""
    try:
        return from_environ(kind, environment())
    except Mistakes as mistakes:
        exit_naming(mistakes)


def exit_naming(mistakes: Mistakes) -> NoReturn:
    """Print every mistake and end the process with code 2."""
    sys.stderr.write("".join(f"lumni: {line}\n" for line in mistakes.lines))
    sys.exit(2)
