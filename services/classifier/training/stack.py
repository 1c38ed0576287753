"""Fit how the sentence encoder's opinions are joined with those of the heads.

    python -m services.classifier.training.stack

On the development part, which neither was trained on: logistic regression on the two log-odds. The threshold stays that
of the heads: both scores are probabilities. What is printed comes from writers left out: each writer's requests are
judged by weights that were fitted to the others'.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from services.classifier import heads
from services.classifier.classify import Classifier
from services.classifier.deep import Encoder
from services.classifier.embedding import Embedder
from services.classifier.features import observe
from services.classifier.heads import CATEGORIES, COMMITTED
from services.classifier.stack import TIERS, VERSION, Floats, Opinion, Stack
from services.classifier.training import corpus
from services.classifier.training.corpus import Request
from services.classifier.training.train import reading, say

# Inverse strength of regularization.
STRENGTH = 1.0
# Weights of the encoder's categories that are tried, and how sharp both together may be.
TRIED = (0.0, 0.25, 0.5, 0.75, 1.0)
SHARPNESS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Judged:
    """A request, and what heads and encoder say of it."""

    request: Request
    score: float
    shares: Floats
    opinion: Opinion | None

    def joined(self, stack: Stack) -> float:
        """The log-odds of both."""
        return self.score if self.opinion is None else stack.score(self.score, self.opinion)

    def probabilities(self, stack: Stack) -> Floats:
        """The probabilities of the categories by both."""
        return self.shares if self.opinion is None else stack.shares(self.shares, self.opinion)

    def category(self, stack: Stack) -> str:
        """The category by both."""
        return CATEGORIES[int(self.probabilities(stack).argmax())]


def judged(
    requests: Sequence[Request], classifier: Classifier, encoder: Encoder, embedder: Embedder
) -> list[Judged]:
    """What both say of requests."""
    seen = [observe(reading(request), embedder) for request in requests]
    said = classifier.judgement(seen)
    return [
        Judged(request, float(score), shares, encoder.read(one.text))
        for request, one, score, shares in zip(requests, seen, said.score, said.category, strict=True)
    ]


def fit(known: Sequence[Judged]) -> Stack:
    """The weights that fit requests best."""
    read = [one for one in known if one.opinion is not None]
    rows = np.array([(one.score, one.opinion.levels[TIERS]) for one in read if one.opinion is not None])
    model = LogisticRegression(C=STRENGTH).fit(rows, [one.request.powerful for one in read])
    heads_weight, encoder_weight, bias = (
        round(float(value), 4) for value in (*model.coef_[0], model.intercept_[0])
    )
    tried = [Stack(heads_weight, encoder_weight, bias, categories, 1.0) for categories in TRIED]
    best = max(tried, key=lambda one: sum(own.category(one) == own.request.category for own in read))
    return max((replace(best, sharpness=one) for one in SHARPNESS), key=lambda one: likelihood(read, one))


def likelihood(known: Sequence[Judged], stack: Stack) -> float:
    """The logarithm of the probability of the categories that requests have."""
    return sum(
        float(np.log(one.probabilities(stack)[CATEGORIES.index(one.request.category)])) for one in known
    )


def left_out(known: Sequence[Judged], threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each request is called powerful, and its category found, by weights without its writer's part in them."""
    powerful, found = np.zeros(len(known), bool), np.zeros(len(known), bool)
    for writer in {one.request.writer for one in known}:
        stack = fit([one for one in known if one.request.writer != writer])
        for number, one in enumerate(known):
            if one.request.writer == writer:
                powerful[number] = one.joined(stack) >= threshold
                found[number] = one.category(stack) == one.request.category
    return powerful, found


def main() -> None:
    """Fit, say what to expect, and write."""
    embedder = Embedder()
    weights = heads.load(COMMITTED / "v1.npz")
    threshold = float(np.log(weights.threshold / (1 - weights.threshold)))
    known = judged(corpus.load("development"), Classifier(weights, embedder), Encoder(), embedder)
    levels = np.array([one.request.level for one in known])
    english = np.array([one.request.language == "en" for one in known])
    alone = np.array([one.score >= threshold for one in known])
    both, found = left_out(known, threshold)
    for name, powerful in (("heads alone", alone), ("both, writers left out", both)):
        right = powerful == (levels >= 3)
        say(
            name,
            f"tier {right.mean():.1%} (en {right[english].mean():.1%}, others {right[~english].mean():.1%}), "
            f"level 1 powerful {powerful[levels == 1].mean():.1%}, level 4 {powerful[levels == 4].mean():.1%}",
        )
    say("category by both, writers left out", f"{found.mean():.1%}")
    stack = fit(known)
    say("stack", stack)
    path = COMMITTED / f"{VERSION}.json"
    stack.save(path)
    sys.stdout.write(f"written: {path}\n")


if __name__ == "__main__":
    main()
