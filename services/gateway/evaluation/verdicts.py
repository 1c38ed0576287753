"""A judge's verdicts that were written down, one a row, as pairs: the same two answers read in both orders."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.gateway.evaluation.results import VERDICT


@dataclass(frozen=True, slots=True)
class Pair:
    """An answer and what it is compared with, by whom."""

    model: str
    task: str
    digest: str
    judge: str
    reference: str


@dataclass(slots=True)
class Said:
    """What the judge said of a pair.

    Attributes:
        compared: Whether checks say which answer is right.
        verdicts: By whether the answer stood first.

    """

    compared: bool
    verdicts: dict[bool, int] = field(default_factory=dict)

    @property
    def both(self) -> tuple[int, int] | None:
        """The verdicts where the answer stood first, and where it stood second; None where one is missing."""
        return (self.verdicts[True], self.verdicts[False]) if len(self.verdicts) == 2 else None


def pairs(rows: Iterable[Mapping[str, Any]]) -> dict[Pair, Said]:
    """All pairs that a judge was asked of, but for those of which an answer was taken out of the file."""
    found: dict[Pair, Said] = {}
    for row in rows:
        if row["kind"] == VERDICT and not row.get("gone"):
            pair = Pair(row["model"], row["task"], row["digest"], row["judge"], row["reference"])
            said = found.setdefault(pair, Said(row["compared"]))
            if row["verdict"] is not None:
                said.verdicts[row["answer_first"]] = row["verdict"]
    return found
