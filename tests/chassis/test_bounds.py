"""Bounds of fields: what lies outside is the caller's mistake, by name."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from services.chassis.bounds import Bounds, Names, Number, Text, check
from services.chassis.errors import Invalid

BOUNDS: Bounds = {"rate": Number(0, 1), "name": Text(3), "inner": {"groups": Names(2, 3)}}


def message(*, rate: float = 0.5, name: str = "abc", groups: tuple[str, ...] = ("a", "b")) -> Any:
    return SimpleNamespace(rate=rate, name=name, inner=SimpleNamespace(groups=groups))


def test_what_lies_within_its_bounds_passes() -> None:
    check(message(rate=0), BOUNDS)
    check(message(rate=1), BOUNDS)


@pytest.mark.parametrize(
    ("outside", "field"),
    [
        ({"rate": -0.1}, "m.rate"),
        ({"rate": 1.1}, "m.rate"),
        ({"rate": math.nan}, "m.rate"),
        ({"rate": math.inf}, "m.rate"),
        ({"name": "abcd"}, "m.name"),
        ({"groups": ("a", "b", "c")}, "m.inner.groups"),
        ({"groups": ("abcd",)}, "m.inner.groups"),
    ],
)
def test_what_lies_outside_is_named(outside: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid, match=rf"^{field}: expected") as caught:
        check(message(**outside), BOUNDS, "m.")

    assert field == caught.value.param
