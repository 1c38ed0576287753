"""The configured deployments as arrays, so that a request is filtered and ranked without a loop.

Everything that depends only on the two configuration files and the catalog is worked out here, once.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.deployments import MODES, Deployment, Fleet
from services.selector.models.benchmarks import CATEGORIES
from services.selector.models.catalog import Catalog, Entry
from services.selector.models.model_names import canonical
from services.selector.models.options import Options

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

# A model that the catalog does not know is taken to be as good as the model at this quantile of it.
UNKNOWN_QUANTILE = 0.05


@dataclass(frozen=True, slots=True)
class Standing:
    """How the deployments do at one kind of task."""

    quality: Array
    # Share of the other configured models that are worse, ties counting half.
    ranking: Array
    # Whom the tiers prefer.
    fast: Mask
    powerful: Mask


class Roster:
    """One fleet, laid out in the order of its configuration."""

    def __init__(self, fleet: Fleet, catalog: Catalog, options: Options) -> None:
        self.fleet = fleet
        self.options = options
        self.deployments = fleet.deployments
        self.index = {deployment.id: i for i, deployment in enumerate(self.deployments)}
        self.models = tuple(dict.fromkeys(deployment.model for deployment in self.deployments))
        numbers = {name: i for i, name in enumerate(self.models)}
        self.model_of: Indices = np.array([numbers[d.model] for d in self.deployments], dtype=np.intp)
        self.groups = _grouped(deployment.model for deployment in self.deployments)
        self.entries: tuple[Entry | None, ...] = tuple(find(catalog, d) for d in self.deployments)
        # Other names that deployments go by: as LiteLLM writes them, the catalog's id, and in the one spelling.
        self.by_path = _grouped(f"{d.provider}/{d.litellm_model}" for d in self.deployments)
        self.by_entry = _grouped(entry.id if entry else "" for entry in self.entries)
        self.by_spelling = _grouped(canonical(d.litellm_model) for d in self.deployments)
        rates = [deployment.price.rates for deployment in self.deployments]
        # US dollars per million tokens.
        self.input_price: Array = np.array([rate.input for rate in rates]) / 1e9
        self.output_price: Array = np.array([rate.output for rate in rates]) / 1e9
        self.free = self.mask(lambda d: d.free)
        self.context: Array = np.array([float(d.context_window or math.inf) for d in self.deployments])
        self.max_output: Array = np.array([float(d.max_output_tokens or math.inf) for d in self.deployments])
        # What is paid for at most when nobody caps the answer, in tokens.
        self.longest_answer: Array = np.array([float(d.longest_answer) for d in self.deployments])
        self.priority: Array = np.array([d.priority for d in self.deployments])
        self.weight = [d.weight for d in self.deployments]
        self.ordered = any(deployment.order for deployment in self.deployments)
        # Deployments of one class are the same thing at the same price: load may be spread over them.
        classes: dict[tuple[object, ...], int] = {}
        self.class_of = [
            classes.setdefault((d.model, d.litellm_model, d.order, d.price.rates), len(classes))
            for d in self.deployments
        ]
        self.classes: list[list[int]] = [[] for _ in classes]
        for i, number in enumerate(self.class_of):
            self.classes[number].append(i)
        self._bounds = self._price_bounds()
        self._unknown = {category: self._unknown_quality(catalog, category) for category in CATEGORIES}
        self._standings: dict[tuple[str, bool, bool], Standing] = {}

    def __len__(self) -> int:
        return len(self.deployments)

    def mask(self, test: Callable[[Deployment], bool]) -> Mask:
        """Which deployments pass a test."""
        return np.array([test(deployment) for deployment in self.deployments], dtype=np.bool_)

    def among(self, indices: Iterable[int]) -> Mask:
        """A mask of some deployments."""
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[list(indices)] = True
        return mask

    def bounds(self, prompt_tokens: int, output_tokens: int, choices: int) -> Array:
        """About the most that one attempt can cost, in nano-USD, for all at once; `Price.bound` is exact."""
        answer = output_tokens or self.longest_answer
        for start, dearest_input, dearest_output in reversed(self._bounds):
            if prompt_tokens >= start:
                return np.asarray((prompt_tokens * dearest_input + choices * answer * dearest_output) / 1e6)
        raise AssertionError("the first row begins with the first token")

    def weights_of(self, category: str, *, long_context: bool, multilingual: bool) -> dict[str, float]:
        """Which benchmarks count for a task, as shares of 1."""
        table = self.options.category_weights
        weights = dict(table["long_context"] if long_context else table.get(category) or table["other"])
        if multilingual:
            total = sum(weights.values())
            extra = table["multilingual"]
            # Half of the judgement is how well a model knows languages.
            factor = total / (sum(extra.values()) or 1.0)
            for name, weight in extra.items():
                weights[name] = weights.get(name, 0.0) + weight * factor
        total = sum(weights.values()) or 1.0
        return {name: weight / total for name, weight in weights.items()}

    def standing(self, category: str, *, long_context: bool = False, multilingual: bool = False) -> Standing:
        """How everybody does at a kind of task; worked out when first asked."""
        key = (category, long_context, multilingual)
        found = self._standings.get(key)
        if found is None:
            found = self._standings[key] = self._stand(*key)
        return found

    def _stand(self, category: str, long_context: bool, multilingual: bool) -> Standing:
        weights = self.weights_of(category, long_context=long_context, multilingual=multilingual)
        unknown = self._unknown.get(category, self._unknown["other"])
        quality = np.array([entry.quality(weights) if entry else unknown for entry in self.entries])
        # Models, not deployments, are ranked: ten keys for one model are one model.
        of_model = np.zeros(len(self.models))
        np.maximum.at(of_model, self.model_of, quality)
        worse = (quality[:, None] > of_model[None, :]).sum(axis=1)
        equal = (quality[:, None] == of_model[None, :]).sum(axis=1) - (quality == of_model[self.model_of])
        ranking = (worse + equal / 2) / max(1, len(self.models) - 1)
        usable = self.mask(lambda d: d.mode in MODES["chat"])
        best = float(quality[usable].max()) if usable.any() else 0.0
        blended = (3 * self.input_price + self.output_price) / 4
        return Standing(
            quality=quality,
            ranking=np.minimum(ranking, 1.0),
            fast=np.asarray(quality >= self.options.quality_floor * best),
            powerful=np.asarray(blended <= self.options.cost_ceiling),
        )

    def _unknown_quality(self, catalog: Catalog, category: str) -> float:
        weights = self.weights_of(category, long_context=False, multilingual=False)
        known = [entry.quality(weights) for entry in catalog.entries.values()]
        return float(np.quantile(known, UNKNOWN_QUANTILE)) if known else 0.0

    def _price_bounds(self) -> list[tuple[int, Array, Array]]:
        starts = sorted({row.from_tokens for d in self.deployments for row in d.price.rows} | {0})
        table = []
        for start in starts:
            reachable = [
                [row.rates for row in d.price.rows if row.from_tokens <= start] for d in self.deployments
            ]
            table.append(
                (
                    start,
                    np.array([float(max(rates.dearest_input for rates in rows)) for rows in reachable]),
                    np.array([float(max(rates.dearest_output for rates in rows)) for rows in reachable]),
                )
            )
        return table


def _grouped(names: Iterable[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(name, []).append(i)
    return groups


def find(catalog: Catalog, deployment: Deployment) -> Entry | None:
    """The catalog's entry of a deployment: by what it is said to be, what is called, or its public name."""
    names = (deployment.base_model, deployment.litellm_model, deployment.model)
    return catalog.find(*(name for name in names if name))
