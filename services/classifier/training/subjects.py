"""Questions of the academic subjects that the public data lacks: every topic of `subjects.toml` in every template."""

import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

_DATA: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def questions() -> Iterator[tuple[str, str]]:
    """Text and subject of each."""
    for subject, topics in _DATA["topics"].items():
        for topic, template in product(topics, _DATA["templates"]):
            yield template.format(topic=topic), subject
