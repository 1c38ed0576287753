"""Two opinions on a request made one: that of the linear heads and that of the sentence encoder (`deep`).

Their log-odds of the tier are added with weights, and so are their log-probabilities of the categories. The weights are
fitted by `training.stack`.
"""

import json
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from services.classifier.heads import COMMITTED

# The version of the classifier that asks the encoder as well.
VERSION = "deep"
# The question between the tiers, of those that the encoder answers: level 2, 3, 4 or above?
TIERS = 1
# No weight is this large.
LARGEST = 100.0

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the encoder says of one text.

    Attributes:
        levels: Log-odds that the level is at least 2, 3 and 4.
        categories: Log-odds of each of heads.CATEGORIES.
    """

    levels: Floats
    categories: Floats


class Encodes(Protocol):
    """Reads texts; `deep.Encoder` does."""

    def read(self, text: str) -> Opinion | None:
        """The opinion on a text; None where there is none."""


@dataclass(frozen=True, slots=True)
class Stack:
    """How the two are joined.

    Attributes:
        heads: What the heads' log-odds of the tier weigh.
        encoder: What the encoder's weigh.
        bias: What is added to them.
        categories: What the encoder's log-probabilities of the categories weigh beside the heads'.
        sharpness: What the sum of both is multiplied with to give probabilities: two that agree know less than
            twice as much.
    """

    heads: float
    encoder: float
    bias: float
    categories: float
    sharpness: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (isfinite(value) and abs(value) < LARGEST):
                raise ValueError(f"{name}: expected a number below {LARGEST:.0f}, found {value}")

    def score(self, score: float, opinion: Opinion) -> float:
        """The log-odds that a powerful model is needed."""
        return self.heads * score + self.encoder * float(opinion.levels[TIERS]) + self.bias

    def shares(self, shares: Floats, opinion: Opinion) -> Floats:
        """The probabilities of the categories."""
        said = opinion.categories - np.logaddexp.reduce(opinion.categories)
        powers = (shares * np.exp(self.categories * said)) ** self.sharpness
        joined: Floats = (powers / powers.sum()).astype(np.float32)
        return joined

    @classmethod
    def load(cls, path: Path = COMMITTED / f"{VERSION}.json") -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path} holds no weights of the deep version ({error}): put a good copy there, or fit them again"
            ) from error

    def save(self, path: Path) -> None:
        """Write the weights."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")
