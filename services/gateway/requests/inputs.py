"""A field that holds one text or several, each as a text or as the numbers of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import Invalid
from services.gateway.requests import prompt_size


@dataclass(frozen=True, slots=True)
class Size:
    """How long the texts are, in tokens: an upper bound and an estimate of all, and an estimate of the longest."""

    count: int
    bound: int
    likely: int
    longest: int


def measure(body: dict[str, Any], name: str, most: int) -> Size:
    """The size of a field's texts.

    Raises:
        Invalid: it holds none, more than `most`, or something else.
    """
    value = body.get(name)
    texts = _listed(value, name, most)
    sizes = [
        _measured(text, name if text is value else f"{name}[{place}]") for place, text in enumerate(texts)
    ]
    return Size(
        len(sizes),
        sum(bound for bound, _ in sizes),
        sum(likely for _, likely in sizes),
        max(likely for _, likely in sizes),
    )


def _listed(value: Any, name: str, most: int) -> Sequence[Any]:
    """The texts of a field; one alone, or the numbers of its tokens, stand for a list of one."""
    if isinstance(value, str) or (isinstance(value, list) and value and type(value[0]) is int):
        return [value]
    if not isinstance(value, list) or not value:
        raise Invalid(f"{name}: expected a text, or a list with at least one", param=name)
    if len(value) > most:
        raise Invalid(f"{name}: expected at most {most} texts", param=name)
    return value


def _measured(given: Any, name: str) -> tuple[int, int]:
    if isinstance(given, str) and given:
        bound, likely = prompt_size.of_text(given)
        return bound, max(1, likely)
    # By `set` and `min`, as there may be hundreds of thousands.
    if isinstance(given, list) and given and set(map(type, given)) == {int} and min(given) >= 0:
        return len(given), len(given)
    raise Invalid(f"{name}: expected a text that is not empty, or a list of token numbers", param=name)
