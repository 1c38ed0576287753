"""Print requests drawn at random with what the classifier says of them and why, for a person to judge.

python -m services.classifier.training.drawn [--part development] [--number 20] [--seed 0] [--deep]
"""

import argparse
import random
import sys

from services.classifier import heads
from services.classifier.classify import Classification, Classifier, deepened
from services.classifier.embedding import Embedder
from services.classifier.heads import COMMITTED
from services.classifier.training import corpus
from services.classifier.training.corpus import Request
from services.classifier.training.train import reading

# Characters of a request that are printed.
SHOWN = 600


def told(request: Request, found: Classification) -> str:
    """A request and its classification as lines of text."""
    text = request.text if len(request.text) <= SHOWN else f"{request.text[:SHOWN]} ..."
    reasons = "\n".join(
        f"  {factor.contribution:+.2f}  {factor.name} ({factor.value:g})" for factor in found.factors
    )
    reasons = reasons or "  no reason given"
    tier = "powerful" if found.powerful else "fast"
    return (
        f"{request.id}, level {request.level}, {request.category}, {request.language}\n{text}\n"
        f"= {tier} ({found.strong_win_rate:.2f}), {found.category}\n{reasons}\n"
    )


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description="Print classified requests with the reasons.")
    parser.add_argument("--part", choices=corpus.PARTS, default="development", help="part of the corpus")
    parser.add_argument("--number", type=int, default=20, help="how many requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--deep", action="store_true", help="by the deep version (needs extra classifier-deep)"
    )
    options = parser.parse_args()
    embedder = Embedder()
    if options.deep:
        from services.classifier.deep import Encoder

        classifier = deepened(embedder, Encoder())
    else:
        classifier = Classifier(heads.load(COMMITTED / "v1.npz"), embedder)
    drawn = random.Random(options.seed).sample(corpus.load(options.part), options.number)
    found = classifier.classify([reading(request) for request in drawn])
    sys.stdout.write("\n".join(map(told, drawn, found)))


if __name__ == "__main__":
    main()
