"""Short sums, of which the corpus has few: easy mathematics, and no question of fact."""

import random
import tomllib
from pathlib import Path

# Sums made of each way to ask for one, and the largest numbers in them.
EACH = 3
LARGEST = (20, 100, 1000)
SIGNS = ("+", "-", "*", "x", "×", "/", "÷")
_WAYS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def sums(seed: int) -> list[tuple[str, str]]:
    """Text and language of some sums in each language of `sums.toml`."""
    draw = random.Random(seed)
    return [
        (
            way.format(sum=_sum(draw), share=draw.choice((5, 10, 12, 15, 20, 30, 75)), of=_number(draw)),
            language,
        )
        for language, ways in _WAYS.items()
        for way in ways
        for _ in range(EACH)
    ]


def _number(draw: random.Random) -> int:
    return draw.randint(2, draw.choice(LARGEST))


def _sum(draw: random.Random) -> str:
    space = draw.choice((" ", " ", ""))
    return f"{_number(draw)}{space}{draw.choice(SIGNS)}{space}{_number(draw)}"
