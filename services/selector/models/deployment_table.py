"""The configured deployments as arrays, so that a request is filtered and ranked without a loop.

Everything that depends only on the two configuration files and the catalog is computed here, once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.candidates import Names, places
from services.chassis.deployments import Deployment, Fleet
from services.chassis.measured_scores import Scores
from services.chassis.operations import MODES, Operation
from services.selector.models.benchmarks import CATEGORIES
from services.selector.models.catalog import Catalog, Entry
from services.selector.models.measured import moved, on_one_scale
from services.selector.models.model_names import canonical
from services.selector.models.options import Options

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

# A model that the catalog does not know is taken to be as good as the model at this quantile of it.
UNKNOWN_QUANTILE = 0.05


@dataclass(frozen=True, slots=True)
class CategoryRanking:
    """How the deployments rank at one kind of task."""

    quality: Array
    # Share of the other configured models that are worse, ties counting half.
    rank: Array
    # Which of them the tiers prefer.
    fast: Mask
    powerful: Mask


class DeploymentTable:
    """One fleet as arrays, in the order of its configuration."""

    def __init__(
        self, fleet: Fleet, catalog: Catalog, options: Options, measured: Scores | None = None
    ) -> None:
        self.fleet = fleet
        self.options = options
        self.deployments = fleet.deployments
        self.index = {deployment.id: i for i, deployment in enumerate(self.deployments)}
        self.models = tuple(dict.fromkeys(deployment.model for deployment in self.deployments))
        numbers = {name: i for i, name in enumerate(self.models)}
        self.model_of: Indices = np.array([numbers[d.model] for d in self.deployments], dtype=np.intp)
        self.names = Names(fleet)
        self.entries: tuple[Entry | None, ...] = tuple(find(catalog, d) for d in self.deployments)
        # How each did here, by category: as a deployment of its own, else as the model that it is one of.
        scores = measured or {}
        self.measured = tuple({**scores.get(d.model, {}), **scores.get(d.id, {})} for d in self.deployments)
        # Names beyond those of the configuration: the catalog's id, and the canonical spelling.
        self.by_entry = places(entry.id if entry else "" for entry in self.entries)
        self.by_spelling = places(canonical(d.litellm_model) for d in self.deployments)
        rates = [deployment.price.rates for deployment in self.deployments]
        # US dollars per million tokens.
        self.input_price: Array = np.array([rate.input for rate in rates]) / 1e9
        self.output_price: Array = np.array([rate.output for rate in rates]) / 1e9
        # What nobody knows the price of is ranked as if it cost as much as the dearest.
        unpriced = self.mask(lambda d: not d.price.known)
        self.input_price[unpriced] = self.input_price.max(initial=0.0)
        self.output_price[unpriced] = self.output_price.max(initial=0.0)
        self.free = self.mask(lambda d: d.free)
        # Deployments of one size have the same context window and longest answer.
        sizes: dict[tuple[int, int], Deployment] = {}
        for one in self.deployments:
            sizes.setdefault((one.context_window, one.max_output_tokens), one)
        order = {size: i for i, size in enumerate(sizes)}
        self._one_of_each_size = tuple(sizes.values())
        self._size_of: Indices = np.array(
            [order[d.context_window, d.max_output_tokens] for d in self.deployments], dtype=np.intp
        )
        # The longest answer that may have to be paid where the request sets no cap, in tokens.
        self.longest_answer: Array = np.array([float(d.longest_answer) for d in self.deployments])
        self.priority: Array = np.array([d.priority for d in self.deployments])
        self.weight = [d.weight for d in self.deployments]
        self.ordered = any(deployment.order for deployment in self.deployments)
        # Deployments of one class are the same thing at the same price: load may be spread over them. A free quota
        # is a price of its own, or a deployment that is billed could take the place of a free one.
        classes: dict[tuple[object, ...], int] = {}
        self.class_of = [
            classes.setdefault(
                (
                    d.model,
                    d.litellm_model,
                    d.order,
                    d.free,
                    d.price.rates,
                    d.price.per_request,
                    d.price.units,
                ),
                len(classes),
            )
            for d in self.deployments
        ]
        self.classes: list[list[int]] = [[] for _ in classes]
        for i, number in enumerate(self.class_of):
            self.classes[number].append(i)
        self._bounds = self._price_bounds()
        self._fees: Array = np.array([float(d.price.per_request) for d in self.deployments])
        self._unknown = {category: self._unknown_quality(catalog, category) for category in CATEGORIES}
        self._moves = self._measured_moves()
        self._rankings: dict[tuple[str, bool, bool], CategoryRanking] = {}

    def __len__(self) -> int:
        return len(self.deployments)

    def mask(self, test: Callable[[Deployment], bool]) -> Mask:
        """Which deployments pass a test."""
        return np.array([test(deployment) for deployment in self.deployments], dtype=np.bool_)

    def mask_by_size(self, test: Callable[[Deployment], bool]) -> Mask:
        """Which deployments pass a test that looks at nothing but context window and longest answer."""
        passes = np.array([test(deployment) for deployment in self._one_of_each_size], dtype=np.bool_)
        return passes[self._size_of]

    def of(self, mask: Mask) -> list[Deployment]:
        """The deployments of a mask."""
        return [self.deployments[i] for i in np.flatnonzero(mask)]

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
                tokens = prompt_tokens * dearest_input + choices * answer * dearest_output
                return np.asarray(self._fees + tokens / 1e6)
        raise AssertionError("the first row begins with the first token")

    def weights_of(self, category: str, *, long_context: bool, multilingual: bool) -> dict[str, float]:
        """Which benchmarks count for a task, as shares of 1."""
        by_category = self.options.category_weights
        weights = dict(
            by_category["long_context"] if long_context else by_category.get(category) or by_category["other"]
        )
        if multilingual:
            total = sum(weights.values())
            extra = by_category["multilingual"]
            # Half of the weight goes to how well a model knows languages.
            factor = total / (sum(extra.values()) or 1.0)
            for name, weight in extra.items():
                weights[name] = weights.get(name, 0.0) + weight * factor
        total = sum(weights.values()) or 1.0
        return {name: weight / total for name, weight in weights.items()}

    def ranking(
        self, category: str, *, long_context: bool = False, multilingual: bool = False
    ) -> CategoryRanking:
        """How the deployments rank at a kind of task; computed at the first call for it."""
        key = (category, long_context, multilingual)
        found = self._rankings.get(key)
        if found is None:
            found = self._rankings[key] = self._rank(*key)
        return found

    def _rank(self, category: str, long_context: bool, multilingual: bool) -> CategoryRanking:
        quality = self._published(category, long_context=long_context, multilingual=multilingual)
        # The prompts that were asked here are short.
        if not long_context and category in self._moves:
            quality = moved(quality, self._moves[category])
        return self.ranked(quality)

    def ranks(self, quality: Array, others: Array) -> Array:
        """Where each deployment ranks with a quality, each for itself, among models with the qualities `others`."""
        # Models, not deployments, are ranked: ten keys for one model are one model.
        of_model = np.zeros(len(self.models))
        np.maximum.at(of_model, self.model_of, others)
        own = of_model[self.model_of]
        worse = (quality[:, None] > of_model[None, :]).sum(axis=1) - (quality > own)
        equal = (quality[:, None] == of_model[None, :]).sum(axis=1) - (quality == own)
        share = (worse + equal / 2) / max(1, len(self.models) - 1)
        return np.asarray(np.minimum(share, 1.0))

    def ranked(self, quality: Array) -> CategoryRanking:
        """How the deployments rank with these qualities."""
        usable = self.mask(lambda d: d.mode in MODES[Operation.CHAT])
        best = float(quality[usable].max()) if usable.any() else 0.0
        blended = (3 * self.input_price + self.output_price) / 4
        return CategoryRanking(
            quality=quality,
            rank=self.ranks(quality, quality),
            fast=np.asarray(quality >= self.options.quality_floor * best),
            powerful=np.asarray(blended <= self.options.cost_ceiling),
        )

    def _published(self, category: str, *, long_context: bool = False, multilingual: bool = False) -> Array:
        """The quality of each deployment by the catalog, 0 to 1."""
        weights = self.weights_of(category, long_context=long_context, multilingual=multilingual)
        unknown = self._unknown.get(category, self._unknown["other"])
        return np.array([entry.quality(weights) if entry else unknown for entry in self.entries])

    def _measured_moves(self) -> dict[str, Array]:
        """By category, how far what was measured here moves the quality of each deployment, in log-odds."""
        if not any(self.measured):
            return {}
        published = np.column_stack([self._published(category) for category in CATEGORIES])
        moves = on_one_scale(published, self.measured, CATEGORIES)
        return dict(zip(CATEGORIES, moves.T, strict=True))

    def _unknown_quality(self, catalog: Catalog, category: str) -> float:
        weights = self.weights_of(category, long_context=False, multilingual=False)
        known = [entry.quality(weights) for entry in catalog.entries.values()]
        return float(np.quantile(known, UNKNOWN_QUANTILE)) if known else 0.0

    def _price_bounds(self) -> list[tuple[int, Array, Array]]:
        starts = sorted({row.from_tokens for d in self.deployments for row in d.price.rows} | {0})
        bounds = []
        for start in starts:
            reachable = [
                [row.rates for row in d.price.rows if row.from_tokens <= start] for d in self.deployments
            ]
            bounds.append(
                (
                    start,
                    np.array([float(max(rates.dearest_input for rates in rows)) for rows in reachable]),
                    np.array([float(max(rates.dearest_output for rates in rows)) for rows in reachable]),
                )
            )
        return bounds


def find(catalog: Catalog, deployment: Deployment) -> Entry | None:
    """The catalog's entry of a deployment: by its base model, the model that is called, or its public name."""
    names = (deployment.base_model, deployment.litellm_model, deployment.model)
    return catalog.find(*(name for name in names if name))
