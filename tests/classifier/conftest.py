from pathlib import Path

import pytest

from services.classifier import heads
from services.classifier.classify import Classifier
from services.classifier.embedding import Embedder
from services.classifier.heads import Heads

WEIGHTS = Path(heads.__file__).parent / "weights" / "v1.npz"


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture(scope="session")
def weights() -> Heads:
    return heads.load(WEIGHTS)


@pytest.fixture
def classifier(weights: Heads, embedder: Embedder) -> Classifier:
    return Classifier(weights, embedder)
