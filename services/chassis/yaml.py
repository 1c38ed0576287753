"""YAML files whose mistakes are reported with their line, all of them at once.

root = load(path)                                   # a Section, raises Mistakes when it is no YAML mapping
root.only("plans", "selector")                      # any other key is a mistake
selector = root.section("selector")                 # an absent section reads as an empty one
strategy = selector.choice("default_strategy", STRATEGIES, "balanced")
share = selector.number("powerful_share", None, low=0, high=1)
for name, plan in root.section("plans").sections():
    plan.require("models")
    models = plan.texts("models")
    budget = plan.decimal("budget_usd", None, low=0)    # exact, for money
    if budget is not None and not models:
        plan.mistake("models", "is empty, so the budget cannot be spent")
root.finish()                                       # raises Mistakes with every line that is wrong

Each reader takes a key and what an absent key reads as; a wrong value is noted, reads as that too, and never
stops the reading. A key that no reader takes is a mistake of its section: it is most likely misspelt. Only the
root is exempt, as several services may share one file; `only` checks it.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import yaml

from services.chassis.config import Mistakes
from services.chassis.yaml_loader import Loader

D = TypeVar("D")


class _Document:
    """One file while it is read: the mistakes so far, and what is checked at the end."""

    def __init__(self, name: str, loader: yaml.SafeLoader) -> None:
        self.name = name
        self.loader = loader
        self.notes: dict[tuple[int, str], None] = {}
        self.checks: list[Callable[[], None]] = []
        self.warnings: dict[tuple[int, str], None] = {}

    def note(self, line: int, path: str, message: str) -> None:
        where = f"{self.name}:{line}: {path}: " if path else f"{self.name}:{line}: "
        self.notes[line, where + message] = None


class Section:
    """One mapping of the file, read key by key."""

    def __init__(
        self, document: _Document, path: str, line: int, nodes: dict[str, tuple[int, yaml.Node]]
    ) -> None:
        self._document = document
        self._path = path
        self._nodes = nodes
        self._known: set[str] = set()
        self.line = line
        if path:
            document.checks.append(self._note_unknown)

    @property
    def keys(self) -> tuple[str, ...]:
        """What is written here, in the file's order."""
        return tuple(self._nodes)

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def mistake(self, key: str, message: str) -> None:
        """Note what is wrong with a key, or with the whole section when the key is empty."""
        line = self._nodes[key][0] if key in self._nodes else self.line
        self._document.note(line, self._at(key) if key else self._path, message)

    def warn(self, key: str, message: str) -> None:
        """Note something odd that does not stop the reading."""
        line = self._nodes[key][0] if key in self._nodes else self.line
        self._document.warnings[line, f"{self._document.name}:{line}: {self._at(key)}: {message}"] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was warned about so far, in the whole file and its order."""
        return tuple(message for _, message in sorted(self._document.warnings))

    def pass_over(self, key: str) -> None:
        """Take a key without looking at what is written there."""
        self._known.add(key)

    def require(self, *keys: str) -> None:
        """Note each key that is not there."""
        for key in keys:
            if key not in self._nodes:
                self.mistake(key, "is missing")

    def only(self, *keys: str) -> None:
        """Note each key that is not one of these; for the root, which is not checked otherwise."""
        for key in self._nodes:
            if key not in keys:
                self._unknown(key, keys)

    def text(self, key: str, default: D) -> str | D:
        """A piece of text; a bare number counts as its digits."""
        node = self._scalar(key, "text")
        if node is None:
            return default
        return str(node.value)

    def choice(self, key: str, words: Collection[str], default: D) -> str | D:
        """One of some words."""
        node = self._scalar(key, "one of " + ", ".join(sorted(words)))
        if node is None:
            return default
        if node.value not in words:
            self.mistake(key, f"expected one of {', '.join(sorted(words))}, not {node.value!r}")
            return default
        return str(node.value)

    def flag(self, key: str, default: D) -> bool | D:
        """True or false."""
        value = self._value(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.mistake(key, "expected true or false")
        return default

    def integer(self, key: str, default: D, *, low: int | None = None, high: int | None = None) -> int | D:
        """A whole number from `low` to `high`, both included."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not _within(value, low, high):
            self.mistake(key, f"expected a whole number{_range(low, high)}")
            return default
        return value

    def number(
        self, key: str, default: D, *, low: float | None = None, high: float | None = None
    ) -> float | D:
        """A number from `low` to `high`, both included."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not _within(value, low, high):
            self.mistake(key, f"expected a number{_range(low, high)}")
            return default
        return float(value)

    def decimal(
        self, key: str, default: D, *, low: int | None = None, high: int | None = None
    ) -> Decimal | D:
        """A number exactly as it is written, for money."""
        node = self._scalar(key, "a number")
        if node is None:
            return default
        try:
            value = Decimal(node.value)
        except InvalidOperation:
            value = Decimal("nan")
        if not value.is_finite() or not _within(value, low, high):
            self.mistake(key, f"expected a number{_range(low, high)}")
            return default
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; an absent key reads as an empty one."""
        node = self._node(key)
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode) or not all(
            isinstance(item, yaml.ScalarNode) for item in node.value
        ):
            self.mistake(key, "expected a list of words, such as [a, b]")
            return ()
        return tuple(str(item.value) for item in node.value)

    def section(self, key: str) -> "Section":
        """A mapping below; an absent key reads as an empty one."""
        node = self._node(key)
        if node is None:
            return Section(self._document, self._at(key), self.line, {})
        return _section(self._document, self._at(key), node)

    def sections(self) -> Iterator[tuple[str, "Section"]]:
        """Every key with the mapping below it, for sections whose keys are names of the operator's choice."""
        for key in self._nodes:
            yield key, self.section(key)

    def items(self, key: str) -> list["Section"]:
        """A list of mappings; an absent key reads as an empty one."""
        node = self._node(key)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.mistake(key, "expected a list")
            return []
        return [_section(self._document, f"{self._at(key)}[{i}]", item) for i, item in enumerate(node.value)]

    def plain(self, key: str, default: D) -> Any | D:
        """Whatever is written, as Python values, unchecked: for free-form content."""
        node = self._node(key)
        return default if node is None else self._constructed(key, node)

    def finish(self) -> None:
        """End the reading.

        Raises:
            Mistakes: everything that was noted, in the file's order.
        """
        for check in self._document.checks:
            check()
        if self._document.notes:
            raise Mistakes([message for _, message in sorted(self._document.notes)])

    def _note_unknown(self) -> None:
        for key in self._nodes:
            if key not in self._known:
                self._unknown(key, self._known)

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _unknown(self, key: str, known: Collection[str]) -> None:
        close = difflib.get_close_matches(key, known, 1)
        self.mistake(key, "is not known" + (f"; did you mean {close[0]}?" if close else ""))

    def _node(self, key: str) -> yaml.Node | None:
        self._known.add(key)
        found = self._nodes.get(key)
        # `key:` with nothing behind it is an absent key.
        return None if found is None or found[1].tag == "tag:yaml.org,2002:null" else found[1]

    def _scalar(self, key: str, expected: str) -> yaml.ScalarNode | None:
        node = self._node(key)
        if node is None or isinstance(node, yaml.ScalarNode):
            return node
        self.mistake(key, f"expected {expected}")
        return None

    def _value(self, key: str) -> Any:
        node = self._node(key)
        return None if node is None else self._constructed(key, node)

    def _constructed(self, key: str, node: yaml.Node) -> Any:
        """A node as Python values; None, and a mistake, where it is none: an unknown tag, or a date that is no date."""
        try:
            return self._document.loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
            self.mistake(key, f"cannot be read: {problem or error}")
            return None


def load(path: Path) -> Section:
    """Read a file; an empty one is an empty section.

    Raises:
        Mistakes: it is not there, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Mistakes([f"{path.name}: cannot be read: {error}"]) from error
    try:
        loader = Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Mistakes([f"{path.name}:{line}: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The latter two: an escaped character that there is not.
        raise Mistakes([f"{path.name}: {error}"]) from error
    except RecursionError as error:
        raise Mistakes([f"{path.name}: is nested too deeply"]) from error
    document = _Document(path.name, loader)
    if node is None:
        return Section(document, "", 1, {})
    root = _section(document, "", node)
    if not isinstance(node, yaml.MappingNode):
        root.finish()
    return root


def _section(document: _Document, path: str, node: yaml.Node) -> Section:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        document.note(line, path, "expected a mapping of names to values")
        return Section(document, path, line, {})
    written = [(str(key.value), key) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    times = Counter(name for name, _ in written)
    for name, key in written:
        if times[name] > 1 and name != "<<":
            document.note(key.start_mark.line + 1, path, f"{name} is written more than once")
    try:
        document.loader.flatten_mapping(node)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark.line + 1 if error.problem_mark else line
        document.note(at, path, f"cannot be read: {error.problem}")
    nodes: dict[str, tuple[int, yaml.Node]] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            nodes[str(key.value)] = (key.start_mark.line + 1, value)
        else:
            document.note(key.start_mark.line + 1, path, "expected a plain name as the key")
    return Section(document, path, line, nodes)


def _within(value: Any, low: Any, high: Any) -> bool:
    # A comparison that is false for NaN.
    return bool((low is None or value >= low) and (high is None or value <= high) and value == value)


def _range(low: Any, high: Any) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""
