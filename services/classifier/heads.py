"""The trained part: linear heads over words and features, and the file they are kept in.

Three kinds of heads share the inputs: the score, the categories and the subjects. All are linear in the features and
in what the words say (`words`). Two kinds of requests are also judged by what is known from outcomes of real models:
questions of an exam with answers to choose from, and sums told as a story. There the score leans on those outcomes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.classifier.embedding import DIMENSIONS, Embedder
from services.classifier.features import INDEX, NAMES, Observation
from services.classifier.words import END_WEIGHT, PARTS, Table

Array = NDArray[np.float32]

CATEGORIES = (
    "chat", "factual question", "writing", "summarization", "translation", "extraction",
    "code", "math", "reasoning", "science", "planning", "other",
)  # fmt: skip
# The subjects of MMLU-Pro.
SUBJECTS = (
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health",
    "history", "law", "math", "other", "philosophy", "physics", "psychology",
)  # fmt: skip
MATH = CATEGORIES.index("math")
# Heads in their order: the score, the categories, the subjects and none. The ends of a text have no say in subjects.
SCORE = 0
KINDS = slice(1, 1 + len(CATEGORIES))
TOPICS = slice(KINDS.stop, KINDS.stop + len(SUBJECTS) + 1)
WIDTHS = {"whole": TOPICS.stop, "first": KINDS.stop, "last": KINDS.stop}
# How far the score of a question with answers to choose from is that of the exam's head.
EXAM_TRUST = 0.8
# Deviations of effort that count.
LEAST_EFFORT, MOST_EFFORT = -2.0, 2.0
# Standardized inputs beyond this many deviations say no more.
CLIP = 4.0
# No weight, mean or scale is this large: a mistake, or no number at all.
LARGEST = 1e4
# The weights that come with the package.
COMMITTED = Path(__file__).parent / "weights"

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_WHOLE = ("mean", "scale", "inputs", "biases", "embedding_mean", "embedding_scale", "exam", "effort")
_NUMBERS = ("exam_bias", "effort_bias", "effort_weight", "threshold")


def check_name(version: str) -> str:
    """A version's name, which is also its file's and a label of metrics.

    Raises:
        ValueError: a name that could be a path, or is too long.
    """
    if not _NAME.fullmatch(version):
        raise ValueError(
            f"{version!r} is no name of a version: expected up to 64 letters, digits, dots, dashes and underscores, "
            "and no dot at the beginning"
        )
    return version


@dataclass(frozen=True, slots=True)
class Heads:
    """Weights of one version.

    Attributes:
        version: Their name.
        mean: Of each feature over the training requests.
        scale: Standard deviation of each feature.
        inputs: Features x heads; what a deviation of each feature adds, in log-odds.
        biases: Of the heads.
        tables: Vectors of n-grams for each of words.PARTS.
        embedding_mean: Of each dimension of the embedding over exam questions.
        embedding_scale: Its standard deviation.
        exam: What a deviation of each feature, then of each dimension, adds to the score of a question with answers
            to choose from, in log-odds.
        exam_bias: The score of the average such question, in log-odds.
        effort: The same of the effort that a story's sum takes, in deviations among word problems.
        effort_bias: Its bias.
        effort_weight: What a deviation of effort adds to the score of a story's sum, in log-odds.
        threshold: The score from which the default tier is powerful.
        features: The names of the features it was trained with.
        facts: How it came about: data, seed, metrics.
    """

    version: str
    mean: Array
    scale: Array
    inputs: Array
    biases: Array
    tables: tuple[Table, ...]
    embedding_mean: Array
    embedding_scale: Array
    exam: Array
    exam_bias: float
    effort: Array
    effort_bias: float
    effort_weight: float
    threshold: float
    features: tuple[str, ...]
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.features != NAMES:
            raise ValueError(f"weights {self.version}: trained with other features; train again")
        size, both = len(NAMES), len(NAMES) + DIMENSIONS
        shapes = {
            "mean": (size,),
            "scale": (size,),
            "inputs": (size, TOPICS.stop),
            "biases": (TOPICS.stop,),
            "embedding_mean": (DIMENSIONS,),
            "embedding_scale": (DIMENSIONS,),
            "exam": (both,),
            "effort": (both,),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"weights {self.version}: {name} is not of shape {shape}")
        if [table.weights.shape[1] for table in self.tables] != [WIDTHS[part] for part in PARTS]:
            raise ValueError(f"weights {self.version}: the tables of n-grams are for other heads")
        numbers = {name: getattr(self, name) for name in (*shapes, *_NUMBERS)}
        for part, table in zip(PARTS, self.tables, strict=True):
            largest = np.abs(table.weights).max(axis=0, initial=0) * table.scales
            numbers |= {f"the table of {part}": largest, f"the rarity of {part}": table.rarity}
        for name, value in numbers.items():
            # Put so that NaN is refused as well.
            if not (np.abs(value) < LARGEST).all():
                raise ValueError(
                    f"weights {self.version}: {name} holds something that is no number or is beyond {LARGEST:.0f}"
                )
        for name in ("scale", "embedding_scale"):
            if not (getattr(self, name) > 0).all():
                raise ValueError(f"weights {self.version}: {name} holds a number that is not positive")

    def standardize(self, features: Array) -> Array:
        """Features in deviations from the training requests' mean, one row a request."""
        return standardize(features, self.mean, self.scale)


def standardize(values: Array, mean: Array, scale: Array) -> Array:
    """Values in deviations from a mean, none beyond CLIP."""
    standard: Array = np.minimum(np.maximum((values - mean) / scale, -CLIP), CLIP)
    return standard


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the heads say of a batch of requests, one row a request.

    Attributes:
        score: Log-odds that a powerful model is needed.
        category: Probabilities of the categories.
        subject: Probabilities of the subjects, and of none in the last column.
        outcomes: What outcomes of real models added to the score, in log-odds; 0 for most requests.
        standard: The standardized features.
    """

    score: Array
    category: Array
    subject: Array
    outcomes: Array
    standard: Array


def judge(
    heads: Heads, seen: Sequence[Observation], said: Sequence[Sequence[Array]], embedder: Embedder
) -> Judgement:
    """Apply all heads to observations, given what the words of each part add to the heads, as `words.mean`."""
    features = np.stack([observation.features for observation in seen])
    standard = heads.standardize(features)
    logits = standard @ heads.inputs + heads.biases
    for row, (whole, first, last) in enumerate(said):
        logits[row] += whole
        logits[row, : KINDS.stop] += END_WEIGHT * (first + last)
    category = _softmax(logits[:, KINDS])
    subject = _softmax(logits[:, TOPICS])
    score = logits[:, SCORE]
    outcomes = np.zeros_like(score)
    known = features[:, INDEX["options"]] + features[:, INDEX["story_sum"]]
    for row in np.flatnonzero(known).tolist():
        both = np.concatenate([standard[row], embedded(heads, seen[row], embedder)])
        is_exam = features[row, INDEX["options"]] > 0
        outcomes[row] = (
            EXAM_TRUST * (both @ heads.exam + heads.exam_bias - score[row])
            if is_exam
            else category[row, MATH] * heads.effort_weight * effort(heads, both)
        )
    return Judgement(score + outcomes, category, subject, outcomes, standard)


def embedded(heads: Heads, observation: Observation, embedder: Embedder) -> Array:
    """The standardized embedding of a question."""
    return standardize(embedder.embed(observation.plain), heads.embedding_mean, heads.embedding_scale)


def effort(heads: Heads, both: Array) -> float:
    """The effort of a story's sum, in deviations, given its standardized features and embedding."""
    return min(max(float(both @ heads.effort) + heads.effort_bias, LEAST_EFFORT), MOST_EFFORT)


def sigmoid(score: float) -> float:
    """The probability of log-odds, of whatever size."""
    if score < 0:
        odds = exp(score)
        return odds / (1.0 + odds)
    return 1.0 / (1.0 + exp(-score))


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def save(heads: Heads, folder: Path) -> Path:
    """Write a version's weights, those of n-grams in bytes with a scale for each head; replaces the file at once.

    Raises:
        ValueError: the version's name is no name for a file.
    """
    path = folder / f"{check_name(heads.version)}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(heads, name) for name in _WHOLE}
    for part, table in zip(PARTS, heads.tables, strict=True):
        weights = table.weights * table.scales
        scales = np.maximum(np.abs(weights).max(axis=0), 1e-6) / 127
        arrays |= {
            # Differences of ascending numbers compress better than the numbers.
            f"{part}_digests": np.diff(table.digests, prepend=np.uint32(0)),
            f"{part}_rarity": table.rarity.astype(np.float16),
            f"{part}_scales": scales.astype(np.float32),
            f"{part}_weights": np.rint(weights / scales).astype(np.int8),
        }
    about = {
        **{name: getattr(heads, name) for name in _NUMBERS},
        "features": list(heads.features),
        "facts": dict(heads.facts),
    }
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    partial.replace(path)
    return path


def load(path: Path) -> Heads:
    """Read a version's weights; the file's name is the version's.

    Raises:
        FileNotFoundError: there is no such version.
        ValueError: a file that holds no weights, or weights for other features or shapes.
    """
    return Heads(version=path.stem, **_fields(path))


def _fields(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            arrays = {name: file[name].astype(np.float32) for name in _WHOLE}
            tables = tuple(_table(file, part) for part in PARTS)
        return {
            **arrays,
            "tables": tables,
            **{name: float(about[name]) for name in _NUMBERS},
            "features": tuple(about["features"]),
            "facts": dict(about["facts"]),
        }
    except FileNotFoundError:
        raise
    # A file that is cut short or is something else ends in a dozen kinds of errors of NumPy, its archive and JSON.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}): put a good copy there, or train or refit again"
        ) from error


def _table(file: Mapping[str, NDArray[Any]], part: str) -> Table:
    return Table(
        np.cumsum(file[f"{part}_digests"], dtype=np.uint32),
        file[f"{part}_rarity"],
        file[f"{part}_weights"],
        file[f"{part}_scales"],
    )
