"""Train what is known of courtesies.

    python -m services.classifier.training.courtesies

Sentences of `polite.toml` against sentences of the corpus' requests, by logistic regression over n-grams. Talk is left
out, of which courtesies are the whole, and so are requests that were written with a preamble. A request that ends
without a full stop makes one sentence with the thanks after it, which is none to leave out.
"""

import random
import sys
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression

from services.classifier.courtesy import COMMITTED, sentences
from services.classifier.training import corpus, variants
from services.classifier.training.ngrams import vocabulary
from services.classifier.words import split

STRENGTH = 10.0
# All courtesies together weigh so much beside all other sentences.
COURTESIES_WEIGHT = 1.0
SEED = 0


def courtesies() -> Iterator[str]:
    """Every sentence of the preambles and thanks that are trained on."""
    for text in variants.trained():
        yield from sentences(text)


def demands() -> Iterator[str]:
    """Every sentence of the requests that are trained on, and open ends with thanks in the same sentence."""
    draw, thanked = random.Random(SEED), variants.thanks("training")
    for request in corpus.load("train"):
        if request.category != "chat" and request.form != "preamble":
            found = sentences(request.text)
            yield from found
            end = found[-1].rstrip()
            joined = sentences(thanked(end, request.language, draw))[0].rstrip()
            if joined != end:
                yield joined


def main() -> None:
    """Train and save."""
    polite, plain = [*courtesies()], [*demands()]
    words = [split(sentence.lower()).whole for sentence in (*polite, *plain)]
    known = vocabulary(words[: len(polite)])
    model = LogisticRegression(C=STRENGTH, solver="liblinear", max_iter=1000, random_state=0)
    labels = np.repeat([1, 0], [len(polite), len(plain)])
    rows = known.matrix(words)
    model.fit(
        rows, labels, sample_weight=np.where(labels == 1, COURTESIES_WEIGHT * len(plain) / len(polite), 1.0)
    )
    np.savez_compressed(
        COMMITTED,
        digests=known.digests,
        rarity=known.rarity.astype(np.float16),
        weights=model.coef_[0].astype(np.float16),
        bias=model.intercept_[0],
    )
    said = rows @ model.coef_[0] + model.intercept_[0] > 0
    sys.stdout.write(
        f"{len(polite)} courtesies, {said[labels == 1].mean():.1%} found; {len(plain)} other sentences, "
        f"{said[labels == 0].mean():.2%} taken for one; written: {COMMITTED.stat().st_size / 1024:.0f} KiB\n"
    )


if __name__ == "__main__":
    main()
