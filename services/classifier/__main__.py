"""Run the classifier: python -m services.classifier."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lumni.classifier.v1.classifier_pb2_grpc import add_ClassifierServiceServicer_to_server

from services.chassis import rpc, workers
from services.chassis.config import Mistakes, reader
from services.classifier import heads, stack
from services.classifier.classify import Classifier, Versions, deepened
from services.classifier.embedding import Embedder
from services.classifier.servicer import ClassifierServicer
from services.classifier.settings import SHADOW, VERSIONS, Settings
from services.classifier.shadow import Shadow

log = logging.getLogger(__name__)

SERVICE = "lumni.classifier.v1.ClassifierService"


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

    shares = settings.shares()
    served = {name: version(VERSIONS, name) for name, _ in shares}
    versions = Versions([(served[name], share) for name, share in shares])
    shadow = None
    if named := settings.shadowing():
        name, share = named
        shadow = Shadow(served.get(name) or version(SHADOW, name), share)
        if not any(share for other, share in shares if other != name):
            log.warning(
                "%s: %s is the only version that is served, so there is nothing to compare", SHADOW, name
            )
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
