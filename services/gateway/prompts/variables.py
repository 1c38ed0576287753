"""The variables of a prompt: declared with types when a version is made, checked when it is rendered."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import Invalid

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
MOST_VARIABLES = 64
MOST_DESCRIPTION = 1000
MOST_VALUES = 256
DECLARABLE = ("type", "description", "required", "default", "enum", "max_length")
LONGEST = 16 * 1024 * 1024

# By the names of JSON Schema.
TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A declared variable.

    Attributes:
        type: One of JSON Schema's.
        required: Whether each request must give it.
        default: What it is where a request does not; None is nothing.
        enum: The values that it may have; empty is any.
        max_length: Of a string, in characters; 0 is any length.

    """

    type: str = "string"
    required: bool = True
    default: Any = None
    enum: tuple[Any, ...] = ()
    max_length: int = 0

    def check(self, value: Any, place: str) -> None:
        """Refuse a value that it cannot have.

        Raises:
            Invalid: names the place and what is expected there.
        """
        if not TYPES[self.type](value):
            raise Invalid(f"{place}: expected a value of type {self.type}", param=place)
        if self.enum and value not in self.enum:
            raise Invalid(f"{place}: expected one of {', '.join(map(str, self.enum))}", param=place)
        if self.max_length and len(value) > self.max_length:
            raise Invalid(f"{place}: expected at most {self.max_length} characters", param=place)


def declared(given: Any, place: str = "variables") -> dict[str, Variable]:
    """The declarations of a version.

    Raises:
        Invalid: names the field and what is expected there.
    """
    if not isinstance(given, dict):
        raise Invalid(f"{place}: expected an object of declarations by name", param=place)
    if len(given) > MOST_VARIABLES:
        raise Invalid(f"{place}: expected at most {MOST_VARIABLES}", param=place)
    return {name: _declared(name, one, f"{place}.{name[:64]}") for name, one in given.items()}


def values(variables: Mapping[str, Variable], given: Any) -> dict[str, Any]:
    """The values of all variables for one request.

    Raises:
        Invalid: one is missing, is not declared, or has another type.
    """
    if not isinstance(given, dict):
        raise Invalid("variables: expected an object", param="variables")
    for name in given:
        if name not in variables:
            known = ", ".join(variables) or "none"
            raise Invalid(
                f"variables.{name[:64]}: the prompt declares no such variable; known: {known}",
                param=f"variables.{name[:64]}",
            )
    found = {}
    for name, variable in variables.items():
        value = given.get(name)
        if value is None:
            if variable.required:
                raise Invalid(
                    f"variables.{name}: the prompt needs a value of type {variable.type}",
                    param=f"variables.{name}",
                )
            value = variable.default
        else:
            variable.check(value, f"variables.{name}")
        found[name] = value
    return found


def _declared(name: str, given: Any, place: str) -> Variable:
    if not NAME.fullmatch(name):
        raise Invalid(
            f"{place}: expected a name of 1 to 64 letters, digits, _ and -, beginning with a letter or _",
            param=place,
        )
    if not isinstance(given, dict):
        raise Invalid(f"{place}: expected an object such as {{'type': 'string'}}", param=place)
    for field, (fits, expected) in _FIELDS.items():
        if field in given and not fits(given[field]):
            raise Invalid(f"{place}.{field}: expected {expected}", param=f"{place}.{field}")
    for field in given:
        if field not in DECLARABLE:
            raise Invalid(
                f"{place}.{field[:64]}: unknown; expected one of {', '.join(DECLARABLE)}", param=place
            )
    default = given.get("default")
    variable = Variable(
        type=given.get("type", "string"),
        required=given.get("required", "default" not in given),
        default=default,
        enum=tuple(given.get("enum", ())),
        max_length=given.get("max_length", 0),
    )
    if variable.max_length and variable.type != "string":
        raise Invalid(f"{place}.max_length: only of a string", param=f"{place}.max_length")
    if default is not None:
        variable.check(default, f"{place}.default")
    return variable


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "type": (lambda value: isinstance(value, str) and value in TYPES, f"one of {', '.join(TYPES)}"),
    "description": (
        lambda value: isinstance(value, str) and len(value) <= MOST_DESCRIPTION,
        f"a text of at most {MOST_DESCRIPTION} characters",
    ),
    "required": (lambda value: isinstance(value, bool), "true or false"),
    "enum": (
        lambda value: isinstance(value, list) and 0 < len(value) <= MOST_VALUES,
        f"a list of 1 to {MOST_VALUES} values",
    ),
    "max_length": (_is_length, f"a whole number from 1 to {LONGEST}"),
}
