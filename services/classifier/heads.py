"""The trained part: linear heads over features and embedding, and the file they are kept in.

One matrix holds all heads side by side. The score's head sees the features, the embedding and, through a prior for
each category, what kind of task it probably is.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.classifier.features import INDEX, INPUTS, NAMES

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
# Deviations of effort that count: a short mathematical question still is one.
LEAST_EFFORT, MOST_EFFORT = -0.75, 2.0
# Standardized inputs beyond this many deviations say no more.
CLIP = 4.0
# No weight, mean or scale is this large: a mistake, or no number at all.
LARGEST = 1e4
# The weights that come with the package.
COMMITTED = Path(__file__).parent / "weights"

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_HALF = ("category", "subject")
_WHOLE = ("mean", "scale", "win", "prior", "effort")
_NUMBERS = ("win_bias", "effort_weight", "threshold")


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
        mean: Of each input over the training prompts.
        scale: Standard deviation of each input.
        win: What a deviation of each input adds to the score, in log-odds.
        win_bias: The score of the average prompt, in log-odds.
        prior: What each category adds to the score, in log-odds.
        effort: What each input adds to the effort of a mathematical solution, in deviations among word problems, and
            its bias in the last row.
        effort_weight: What a deviation of effort adds to the score as far as a prompt is mathematical, in log-odds.
        category: Inputs x categories, and their biases in the last row.
        subject: Inputs x (subjects and none), and their biases in the last row.
        threshold: The score from which the default tier is powerful.
        features: The names of the features it was trained with.
        facts: How it came about: data, seed, metrics.
    """

    version: str
    mean: Array
    scale: Array
    win: Array
    win_bias: float
    prior: Array
    effort: Array
    effort_weight: float
    category: Array
    subject: Array
    threshold: float
    features: tuple[str, ...]
    facts: Mapping[str, Any]
    # All heads side by side, without their biases; and those.
    _matrix: Array = field(init=False, repr=False)
    _biases: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.features != NAMES:
            raise ValueError(f"weights {self.version}: trained with other features; train again")
        shapes = {
            "mean": (INPUTS,),
            "scale": (INPUTS,),
            "win": (INPUTS,),
            "prior": (len(CATEGORIES),),
            "effort": (INPUTS + 1,),
            "category": (INPUTS + 1, len(CATEGORIES)),
            "subject": (INPUTS + 1, len(SUBJECTS) + 1),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"weights {self.version}: {name} is not of shape {shape}")
        for name in (*shapes, *_NUMBERS):
            # Put so that NaN is refused as well.
            if not (np.abs(getattr(self, name)) < LARGEST).all():
                raise ValueError(
                    f"weights {self.version}: {name} holds something that is no number or is beyond {LARGEST:.0f}"
                )
        if not (self.scale > 0).all():
            raise ValueError(f"weights {self.version}: scale holds a number that is not positive")
        win = np.append(self.win, np.float32(self.win_bias))
        stacked = np.column_stack([self.category, self.subject, self.effort, win]).astype(np.float32)
        object.__setattr__(self, "_matrix", np.ascontiguousarray(stacked[:-1]))
        object.__setattr__(self, "_biases", stacked[-1])

    def logits(self, standard: Array) -> Array:
        """Categories, subjects and none, effort, score without category and effort; one row a prompt."""
        logits: Array = standard @ self._matrix + self._biases
        return logits

    def standardize(self, inputs: Array) -> Array:
        """Inputs, all or only the first ones, in deviations from the training prompts' mean."""
        size = inputs.shape[1]
        standard: Array = np.minimum(np.maximum((inputs - self.mean[:size]) / self.scale[:size], -CLIP), CLIP)
        return standard


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the heads say of a batch of prompts, one row a prompt.

    Attributes:
        score: Log-odds that a powerful model answers better.
        category: Probabilities of the categories.
        subject: Probabilities of the subjects, and of none in the last column.
        effort: What the steps of a mathematical solution add to the score, in log-odds.
        standard: The standardized inputs.
    """

    score: Array
    category: Array
    subject: Array
    effort: Array
    standard: Array


def judge(heads: Heads, inputs: Array) -> Judgement:
    """Apply all heads to raw inputs, one row a prompt: features, then embedding."""
    standard = heads.standardize(inputs)
    logits = heads.logits(standard)
    kinds = len(CATEGORIES)
    category = _softmax(logits[:, :kinds])
    subject = _softmax(logits[:, kinds:-2])
    # Only a question for an amount can be short of steps: a proof is as much work however short it is put.
    least = np.where(inputs[:, INDEX["amount"]] > 0, LEAST_EFFORT, 0.0).astype(np.float32)
    steps = np.minimum(np.maximum(logits[:, -2], least), MOST_EFFORT)
    effort = category[:, MATH] * steps * np.float32(heads.effort_weight)
    score = logits[:, -1] + category @ heads.prior + effort
    return Judgement(score, category, subject, effort, standard)


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
    """Write a version's weights in half precision where that is exact enough; replaces the file at once.

    Raises:
        ValueError: the version's name is no name for a file.
    """
    path = folder / f"{check_name(heads.version)}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: getattr(heads, name).astype(np.float16) for name in _HALF}
    whole = {name: getattr(heads, name) for name in _WHOLE}
    about = {
        **{name: getattr(heads, name) for name in _NUMBERS},
        "features": list(heads.features),
        "facts": dict(heads.facts),
    }
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **half, **whole)
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
            arrays = {name: file[name].astype(np.float32) for name in (*_HALF, *_WHOLE)}
        return {
            **arrays,
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
