"""What is publicly known of models: one entry each, by its canonical id.

The data file is made by `scripts/catalog.py`; operators add or correct entries in `lumni.yaml`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from services.selector.models import evidence
from services.selector.models.imputation import FACTORS, Factors
from services.selector.models.model_names import canonical

DATA = Path(__file__).parent / "data" / "catalog.json"

# How many standard errors a score is taken to be worse than it says, published or imputed.
CAUTION = 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """One benchmark's score in percent, better when higher."""

    benchmark: str
    percent: float
    source: str = ""
    date: str = ""
    imputed: bool = False
    # The standard error that it is taken to have, in percent; 0 for one that the operator sets.
    uncertainty: float = 0.0
    # When it was published, as YYYY-MM-DD or YYYY-MM; empty when nobody says so. `date` is when it was read.
    published: str = ""
    # Whether somebody measured it who makes no model.
    independent: bool = False


@dataclass(frozen=True)
class Entry:
    """What is known of one model; empty and 0 mean unknown."""

    id: str
    organization: str = ""
    release: str = ""
    context_window: int = 0
    max_output_tokens: int = 0
    capabilities: frozenset[str] = frozenset()
    # The maker's own list price, in nano-USD per million tokens; None when none is listed.
    input_price: int | None = None
    output_price: int | None = None
    aliases: tuple[str, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    # Its abilities as estimated from name, price and relatives before any score; all 0 is the average model.
    prior: tuple[float, ...] = (0.0,) * FACTORS

    @cached_property
    def published(self) -> tuple[Score, ...]:
        """The published scores, without the imputed ones."""
        return tuple(score for score in self.scores.values() if not score.imputed)

    def quality(self, weights: Mapping[str, float]) -> float:
        """The weighted mean of the benchmarks, 0 to 1.

        A benchmark that has no score at all, published or imputed, takes no part. Each counts less its standard
        error: a maker's own, an old and an imputed one must be better to count as much.
        """
        weighted = [
            (max(0.0, score.percent - CAUTION * score.uncertainty), weight)
            for name, weight in weights.items()
            if (score := self.scores.get(name)) is not None
        ]
        total = sum(weight for _, weight in weighted)
        return sum(percent * weight for percent, weight in weighted) / (100 * total) if total else 0.0


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's entry for a model; None keeps the catalog's."""

    id: str
    organization: str | None = None
    release: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] | None = None
    aliases: tuple[str, ...] = ()
    # Percent by benchmark.
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    source: str = ""


class Catalog:
    """Entries by id and by every other name they go by."""

    def __init__(
        self,
        entries: Iterable[Entry],
        factors: Factors | None = None,
        benchmarks: Sequence[str] = (),
        date: str = "",
    ) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.date = date
        self._factors = factors
        self._benchmarks = tuple(benchmarks)
        self._names = {
            canonical(alias): entry.id for entry in self.entries.values() for alias in entry.aliases
        }
        self._names |= {name: name for name in self.entries}

    def find(self, *names: str) -> Entry | None:
        """The entry of the first name that is known, in any spelling."""
        for name in names:
            found = self._names.get(name) or self._names.get(canonical(name))
            if found is not None:
                return self.entries[found]
        return None

    def with_overrides(self, overrides: Iterable[Override]) -> "Catalog":
        """A catalog with an operator's entries; the scores they do not set are estimated anew."""
        overrides = tuple(overrides)
        if not overrides:
            return self
        entries = dict(self.entries)
        for override in overrides:
            base = entries.get(override.id, Entry(override.id))
            given = {
                name: getattr(override, name)
                for name in ("organization", "release", "context_window", "max_output_tokens", "capabilities")
                if getattr(override, name) is not None
            }
            published = {score.benchmark: score for score in base.published}
            published |= {
                name: Score(name, percent, override.source, self.date)
                for name, percent in override.scores.items()
            }
            changed = replace(base, **given, aliases=base.aliases + override.aliases, scores=published)
            entries[override.id] = replace(changed, scores=self._completed(changed))
        return Catalog(entries.values(), self._factors, self._benchmarks, self.date)

    def _completed(self, entry: Entry) -> dict[str, Score]:
        published = {score.benchmark: score for score in entry.published}
        if self._factors is None:
            return published
        known = np.array(
            [published[name].percent if name in published else math.nan for name in self._benchmarks]
        )
        score, error = self._factors.estimate(known, np.array(entry.prior))
        estimated = {
            name: Score(name, round(float(score[i]), 1), imputed=True, uncertainty=round(float(error[i]), 1))
            for i, name in enumerate(self._benchmarks)
        }
        return {**estimated, **published}


@cache
def load() -> Catalog:
    """The catalog of the data file: read once, whatever configurations are read over it."""
    data = orjson.loads(DATA.read_bytes())
    sources, date = data["sources"], data["date"]
    factors = data["factors"]
    fitted = Factors(**{name: np.array(factors[name]) for name in ("center", "scale", "loadings", "noise")})
    entries = (_entry(name, row, sources, date) for name, row in data["models"].items())
    return Catalog(entries, fitted, factors["benchmarks"], date)


def _entry(name: str, row: Mapping[str, Any], sources: Sequence[str], date: str) -> Entry:
    scores = {
        benchmark: Score(benchmark, percent, imputed=True, uncertainty=error)
        for benchmark, (percent, error) in row["imputed"].items()
    }
    scores |= {
        benchmark: Score(
            benchmark,
            percent,
            sources[source],
            date,
            uncertainty=evidence.uncertainty(percent, published, date, independent=bool(independent)),
            published=published,
            independent=bool(independent),
        )
        for benchmark, (percent, source, published, independent) in row.get("scores", {}).items()
    }
    price = row.get("price", {})
    return Entry(
        id=name,
        organization=row["organization"],
        release=row.get("release", ""),
        context_window=row.get("context", 0),
        max_output_tokens=row.get("output", 0),
        capabilities=frozenset(row.get("can", ())),
        input_price=price.get("input"),
        output_price=price.get("output"),
        aliases=tuple(row["aliases"]),
        scores=scores,
        prior=tuple(row["prior"]),
    )
