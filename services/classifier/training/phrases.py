"""Requests of our own, for kinds of tasks that no public source at hand has enough of, in several languages.

The words are in `phrases.toml`. A template is filled with every topic of its list in turn until there are enough.
"""

import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

_DATA: dict[str, Any] = tomllib.loads((Path(__file__).parent / "phrases.toml").read_text(encoding="utf-8"))
# What stands for each placeholder of a template.
TOPICS: dict[str, list[str]] = _DATA["topics"]
# Templates by category.
TEMPLATES: dict[str, list[str]] = _DATA["templates"]
# Topics of the subjects that the training data lacks, and the questions that are asked of each.
SUBJECT_TOPICS: dict[str, list[str]] = _DATA["subject_topics"]
SUBJECT_TEMPLATES: list[str] = _DATA["subject_templates"]


def requests(per_category: int, seed: int) -> Iterator[tuple[str, str]]:
    """At most so many requests of each category, as text and category."""
    rng = Random(seed)
    for category, templates in TEMPLATES.items():
        made = {text for template in templates for text in _filled(template, rng, per_category)}
        chosen = sorted(made)
        rng.shuffle(chosen)
        yield from ((text, category) for text in chosen[:per_category])


def subject_questions() -> Iterator[tuple[str, str]]:
    """Questions of the subjects that the training data lacks, as text and subject."""
    for subject, topics in SUBJECT_TOPICS.items():
        for topic, template in product(topics, SUBJECT_TEMPLATES):
            yield template.format(topic=topic), subject


def _filled(template: str, rng: Random, most: int) -> list[str]:
    names = [name for name in TOPICS if f"{{{name}}}" in template]
    if not names:
        return [template]
    combinations = list(product(*(TOPICS[name] for name in names)))
    rng.shuffle(combinations)
    limit = max(6, min(most, 10))
    made = []
    for values in combinations[:limit]:
        text = template
        for name, value in zip(names, values, strict=True):
            text = text.replace(f"{{{name}}}", value)
        made.append(text)
    return made
