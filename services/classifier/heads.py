"""The trained part: linear heads over features and embedding, and the file they are kept in.

One matrix holds all heads side by side. The score's head sees the features, the embedding and, through a prior for
each category, what kind of task it probably is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.classifier.features import INPUTS, NAMES

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
    steps = np.minimum(np.maximum(logits[:, -2], LEAST_EFFORT), MOST_EFFORT)
    effort = category[:, MATH] * steps * np.float32(heads.effort_weight)
    score = logits[:, -1] + category @ heads.prior + effort
    return Judgement(score, category, subject, effort, standard)


def sigmoid(score: float) -> float:
    """The probability of log-odds."""
    return 1.0 / (1.0 + exp(-score))


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def save(heads: Heads, folder: Path) -> Path:
    """Write a version's weights in half precision where that is exact enough; replaces the file at once."""
    path = folder / f"{heads.version}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: getattr(heads, name).astype(np.float16) for name in ("category", "subject")}
    whole = {name: getattr(heads, name) for name in ("mean", "scale", "win", "prior", "effort")}
    about = {
        "win_bias": heads.win_bias,
        "effort_weight": heads.effort_weight,
        "threshold": heads.threshold,
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
        ValueError: weights for other features or shapes.
    """
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        return Heads(
            version=path.stem,
            mean=file["mean"],
            scale=file["scale"],
            win=file["win"],
            win_bias=float(about["win_bias"]),
            prior=file["prior"],
            effort=file["effort"],
            effort_weight=float(about["effort_weight"]),
            category=file["category"].astype(np.float32),
            subject=file["subject"].astype(np.float32),
            threshold=float(about["threshold"]),
            features=tuple(about["features"]),
            facts=about["facts"],
        )
