"""Run the classifier: python -m services.classifier."""

import gc
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from lumni.classifier.v1.classifier_pb2_grpc import add_ClassifierServiceServicer_to_server

from services.chassis import process, rpc
from services.chassis.config import part, variable
from services.chassis.telemetry import Settings as Telemetry
from services.classifier import heads
from services.classifier.classify import Classifier, Versions
from services.classifier.embedding import Embedder
from services.classifier.servicer import ClassifierServicer

log = logging.getLogger(__name__)

SERVICE = "lumni.classifier.v1.ClassifierService"
COMMITTED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Settings:
    """What the classifier reads from its environment."""

    server: rpc.Settings = part()
    telemetry: Telemetry = part()
    listen: str = variable("LUMNI_LISTEN", "127.0.0.1:50051", "address of the gRPC server")
    versions: tuple[str, ...] = variable(
        "LUMNI_CLASSIFIER_VERSIONS", ("v1",), "versions of the weights and their shares: v1=0.9,refit=0.1"
    )
    shadow: str = variable("LUMNI_CLASSIFIER_SHADOW", "", "version that judges too, but is only measured")
    weights: Path = variable("LUMNI_CLASSIFIER_WEIGHTS", COMMITTED, "folder of the weights")
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

    def shares(self) -> list[tuple[str, float]]:
        """Versions and their shares; one without a share takes what is left.

        Raises:
            ValueError: shares that are no numbers, negative, or do not add up to 1.
        """
        pairs = [entry.partition("=") for entry in self.versions]
        try:
            given = [float(share) for _, _, share in pairs if share]
        except ValueError:
            raise ValueError("LUMNI_CLASSIFIER_VERSIONS: a share must be a number from 0 to 1") from None
        left = 1.0 - sum(given)
        open_ended = len(pairs) - len(given)
        if open_ended > 1 or min([*given, left]) < -1e-6 or (not open_ended and left > 1e-6):
            raise ValueError(
                "LUMNI_CLASSIFIER_VERSIONS: shares add up to 1; at most one version goes without"
            )
        return [(name, float(share) if share else left) for name, _, share in pairs]


async def main(settings: Settings) -> None:
    """Put the parts together and serve until asked to stop."""
    embedder = Embedder()
    threshold = None if settings.threshold < 0 else settings.threshold

    def version(name: str) -> Classifier:
        # Committed weights are always at hand, whatever folder the refitted ones are in.
        refitted = settings.weights / f"{name}.npz"
        path = refitted if refitted.exists() else COMMITTED / f"{name}.npz"
        if not path.exists():
            sys.exit(f"lumni: LUMNI_CLASSIFIER_VERSIONS: there is no {name}.npz in {settings.weights}")
        return Classifier(heads.load(path), embedder, threshold=threshold)

    versions = Versions([(version(name), share) for name, share in settings.shares()])
    shadow = version(settings.shadow) if settings.shadow else None
    service = rpc.Service(
        SERVICE, add_ClassifierServiceServicer_to_server, ClassifierServicer(versions, shadow)
    )
    async with rpc.serve(settings.listen, settings.server, [service]) as address:
        # What is loaded now stays; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        log.info("classifier listening on %s", address)
        await rpc.until_stopped()


if __name__ == "__main__":
    process.run("classifier", Settings, main)
