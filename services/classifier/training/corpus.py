"""The corpus of requests: what people ask, with the level of model that it needs.

    python -m services.classifier.training.corpus [--data FOLDER]

prints the tables of the data card (`requests/README.md`): requests by category and level, what length alone would tell,
how far the second labels agree, and, given a folder of public prompts, the requests that resemble one of them.
"""

import argparse
import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.classifier.heads import CATEGORIES
from services.classifier.training.data import rows

FOLDER = Path(__file__).parent / "requests"
# The last is of a writer who was asked that neither length nor topic tell the level.
PARTS = ("train", "development", "test", "contrary")
LEVELS = (1, 2, 3, 4)
# Of the further requests in `kinds.tsv`, those of these categories want a fast model; of the others nobody said.
EASY = frozenset(("chat", "factual question", "writing", "summarization", "translation", "extraction"))
# Words in a row that two texts share when one was copied from the other.
SHINGLE = 8
# Two requests are near duplicates when they share this part of the shorter one's shingles.
NEAR = 0.5

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        id: Its name.
        turns: Role and text of each message; the last is the user's, and is what the labels are about.
        category: One of `CATEGORIES`.
        level: 1 to 4; from 3 on a powerful model is needed.
        language: ISO code of the language that the request is written in.
        writer: Who wrote it. A part of the corpus holds all that a writer wrote, or nothing.
        form: How it is written: plain, typos, preamble, several turns, ...
        tools: Names of the tools that come with it.
        second: Level and category by a second hand, who saw no label; None where there was none.
    """

    id: str
    turns: tuple[tuple[str, str], ...]
    category: str
    level: int
    language: str
    writer: str
    form: str
    tools: tuple[str, ...] = ()
    second: tuple[int, str] | None = None

    @property
    def text(self) -> str:
        """The last message."""
        return self.turns[-1][1]

    @property
    def powerful(self) -> bool:
        """Whether it needs a powerful model."""
        return self.level >= 3


def load(part: str) -> list[Request]:
    """The requests of one part.

    Raises:
        KeyError, ValueError: a line lacks a field, or holds a value that is none.
    """
    lines = (FOLDER / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_request(json.loads(line)) for line in lines]


def kinds() -> list[tuple[str, str, str]]:
    """Further ordinary requests (text, category, language); those of EASY are for fast models, save a few."""
    lines = (FOLDER / "kinds.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line]
    return [(text.replace("\\n", "\n"), category, language) for category, language, text in rows]


def translated(part: str) -> list[Request]:
    """Some requests of one part as they would be put in another language: `<part>_translations.jsonl`."""
    originals = {request.id: request for request in load(part)}
    lines = (FOLDER / f"{part}_translations.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        replace(original, turns=(*original.turns[:-1], ("user", row["text"])), language=row["language"])
        for row in map(json.loads, lines)
        for original in [originals[row["id"]]]
    ]


def _request(line: dict[str, Any]) -> Request:
    second = line.get("second")
    found = Request(
        id=line["id"],
        turns=tuple((message["role"], message["content"]) for message in line["messages"]),
        category=line["category"],
        level=line["level"],
        language=line["language"],
        writer=line["writer"],
        form=line["form"],
        tools=tuple(tool["name"] for tool in line.get("tools", ())),
        second=(second["level"], second["category"]) if second else None,
    )
    if found.category not in CATEGORIES or found.level not in LEVELS or found.turns[-1][0] != "user":
        raise ValueError(f"not a labelled request: {line}")
    return found


def length_alone(requests: Sequence[Request]) -> float:
    """The share of tiers that the best threshold on the length gets right, chosen on these very requests."""
    pairs = sorted((sum(len(text) for _, text in one.turns), one.powerful) for one in requests)
    powerful_above = sum(powerful for _, powerful in pairs)
    best = right = max(powerful_above, len(pairs) - powerful_above)
    right = powerful_above
    for _, powerful in pairs:
        # The threshold moves past this request: it is called fast now.
        right += -1 if powerful else 1
        best = max(best, right, len(pairs) - right)
    return best / len(pairs)


def kappa(pairs: Sequence[tuple[object, object]]) -> float:
    """Cohen's kappa: agreement of two hands beyond what chance gives."""
    agreed = sum(a == b for a, b in pairs) / len(pairs)
    firsts, seconds = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    by_chance = sum(firsts[label] * seconds[label] for label in firsts) / len(pairs) ** 2
    return (agreed - by_chance) / (1 - by_chance)


def near_duplicates(requests: Sequence[Request], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Requests that share half of their shingles with another text, each with the first such text."""
    index: dict[str, str] = {}
    for text in others:
        for shingle in _shingles(text):
            index.setdefault(shingle, text)
    for request in requests:
        shingles = _shingles(request.text)
        met = [index[one] for one in shingles if one in index]
        if met and len(met) >= NEAR * len(shingles):
            yield request.text, met[0]


def public_prompts(data: Path) -> Iterator[str]:
    """The prompts of public benchmarks in a folder of routing data."""
    for path in sorted((data / "dev").glob("*.csv.gz")):
        yield from (row["prompt"] for row in rows(path))
    for path in sorted((data / "train").glob("*.csv.gz")):
        yield from (row["question"] for row in rows(path))
    for path in sorted(data.rglob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            yield from _texts(json.loads(line))
    for path in sorted(data.rglob("*.jsonl.gz")):
        for packed in gzip.decompress(path.read_bytes()).splitlines():
            yield from _texts(json.loads(packed))
    for path in sorted((data / "prompts" / "bbh").glob("*.json")):
        yield from _texts(json.loads(path.read_text("utf-8")))


def _texts(value: object) -> Iterator[str]:
    """All texts within a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _shingles(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Describe the corpus of requests.")
    parser.add_argument(
        "--data", type=Path, help="folder of routing data with public prompts to compare with"
    )
    options = parser.parse_args()
    parts = {part: load(part) for part in PARTS}
    everything = [request for part in parts.values() for request in part]
    say = sys.stdout.write
    say("| part | requests | writers | English |\n| --- | --- | --- | --- |\n")
    for part, requests in parts.items():
        english = sum(one.language == "en" for one in requests) / len(requests)
        say(f"| {part} | {len(requests)} | {len({one.writer for one in requests})} | {english:.0%} |\n")
    say("\n| category | level 1 | 2 | 3 | 4 | length alone |\n| --- | --- | --- | --- | --- | --- |\n")
    for category in CATEGORIES:
        own = [one for one in everything if one.category == category]
        counts = " | ".join(str(sum(one.level == level for one in own)) for level in LEVELS)
        say(f"| {category} | {counts} | {length_alone(own):.0%} |\n")
    say(f"| all | | | | | {length_alone(everything):.0%} |\n")
    twice = [(one, one.second) for one in everything if one.second]
    for name, pairs in (
        ("tier", [(one.powerful, second[0] >= 3) for one, second in twice]),
        ("level", [(one.level, second[0]) for one, second in twice]),
        ("category", [(one.category, second[1]) for one, second in twice]),
    ):
        agreed = sum(a == b for a, b in pairs) / len(pairs)
        say(f"\n{name}: two hands agree on {agreed:.1%} of {len(pairs)}, kappa {kappa(pairs):.2f}")
    say("\n")
    if options.data:
        found = list(near_duplicates(everything, public_prompts(options.data)))
        say(f"\n{len(found)} requests resemble a public prompt\n")
        for ours, theirs in found:
            say(f"- {ours[:150]!r} ~ {theirs[:150]!r}\n")


if __name__ == "__main__":
    main()
