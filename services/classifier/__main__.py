"""Run the classifier: python -m services.classifier."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from lumni.classifier.v1.classifier_pb2_grpc import add_ClassifierServiceServicer_to_server

from services.chassis import rpc, workers
from services.chassis.config import Mistakes, part, reader, variable
from services.chassis.telemetry import Settings as Telemetry
from services.classifier import heads, stack
from services.classifier.classify import Classifier, Versions, deepened
from services.classifier.embedding import Embedder
from services.classifier.servicer import ClassifierServicer

log = logging.getLogger(__name__)

SERVICE = "lumni.classifier.v1.ClassifierService"
VERSIONS, SHADOW = "LUMNI_CLASSIFIER_VERSIONS", "LUMNI_CLASSIFIER_SHADOW"


@dataclass(frozen=True)
class Settings:
    """What the classifier reads from its environment."""

    server: rpc.Settings = part()
    telemetry: Telemetry = part()
    listen: str = variable("LUMNI_LISTEN", "127.0.0.1:50051", "address of the gRPC server")
    versions: tuple[str, ...] = variable(
        VERSIONS,
        ("v1",),
        "versions of the weights and their shares: v1=0.9,refit=0.1; deep asks a sentence encoder as well "
        "(extra classifier-deep, 8 ms of CPU a request)",
    )
    shadow: str = variable(SHADOW, "", "version that judges too, but is only measured")
    weights: Path = variable("LUMNI_CLASSIFIER_WEIGHTS", heads.COMMITTED, "folder of the weights")
    threshold: float = variable(
        "LUMNI_CLASSIFIER_THRESHOLD",
        -1.0,
        "score from which the default tier is powerful; -1 is the weights' own",
    )

    def __post_init__(self) -> None:
        rpc.check_listen(self.listen, self.server)
        if not (self.threshold == -1.0 or 0.0 <= self.threshold <= 1.0):
            raise ValueError("LUMNI_CLASSIFIER_THRESHOLD: expected 0 to 1")
        self.shares()
        if self.shadow:
            _name(SHADOW, self.shadow)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return (self.listen,)

    def shares(self) -> list[tuple[str, float]]:
        """Versions and their shares; one without a share takes what is left.

        Raises:
            ValueError: names that are none or stand twice, shares that are no numbers, negative, or do not add up
                to 1.
        """
        pairs = [tuple(word.strip() for word in entry.partition("=")) for entry in self.versions]
        names = [_name(VERSIONS, name) for name, _, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{VERSIONS}: {twice[0]} stands there more than once")
        try:
            given = {name: float(share) for name, equals, share in pairs if equals}
        except ValueError:
            raise ValueError(f"{VERSIONS}: a share must be a number from 0 to 1") from None
        if not all(isfinite(share) and share >= 0 for share in given.values()):
            raise ValueError(f"{VERSIONS}: a share must be a number from 0 to 1")
        left = 1.0 - sum(given.values())
        open_ended = len(names) - len(given)
        if open_ended > 1 or left < -1e-6 or (not open_ended and left > 1e-6):
            raise ValueError(f"{VERSIONS}: shares add up to 1; at most one version goes without")
        return [(name, given.get(name, max(0.0, left))) for name in names]


def _name(setting: str, version: str) -> str:
    try:
        return heads.check_name(version)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None


async def main(settings: Settings) -> None:
    """Serve until asked to stop."""
    async with serving(settings):
        await rpc.until_stopped()


@asynccontextmanager
async def serving(settings: Settings, inside: rpc.InProcess | None = None) -> AsyncIterator[None]:
    """Put the parts together and serve until the block ends; `inside` as in `rpc.serve`."""
    embedder = Embedder()
    threshold = None if settings.threshold < 0 else settings.threshold

    def version(setting: str, name: str) -> Classifier:
        if name == stack.VERSION:
            return _deep(setting, embedder, threshold)
        # Committed weights can always be named, whatever folder the refitted ones are in.
        refitted = settings.weights / f"{name}.npz"
        path = refitted if refitted.exists() else heads.COMMITTED / f"{name}.npz"
        if not path.exists():
            raise Mistakes([f"{setting}: there is no {name}.npz in {settings.weights}"])
        try:
            return Classifier(heads.load(path), embedder, threshold=threshold)
        except ValueError as error:
            raise Mistakes([f"{setting}: {error}"]) from error

    versions = Versions([(version(VERSIONS, name), share) for name, share in settings.shares()])
    shadow = version(SHADOW, settings.shadow) if settings.shadow else None
    service = rpc.Service(
        SERVICE,
        add_ClassifierServiceServicer_to_server,
        ClassifierServicer(versions, shadow),
        longest=rpc.MAX_QUESTION,
    )
    async with rpc.serve(settings.listen, settings.server, [service], inside=inside) as address:
        log.info("classifier listening on %s", address)
        yield


def _deep(setting: str, embedder: Embedder, threshold: float | None) -> Classifier:
    """The package's own heads beside its sentence encoder."""
    try:
        from services.classifier.deep import Encoder
    except ImportError as error:
        raise Mistakes(
            [f"{setting}: deep needs the package {error.name}: pip install 'lumni[classifier-deep]'"]
        ) from error
    try:
        return deepened(embedder, Encoder(), threshold)
    except ValueError as error:
        raise Mistakes([f"{setting}: {error}"]) from error


if __name__ == "__main__":
    workers.run("classifier", reader(Settings), main)
