"""What the classifier reads from its environment."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from services.chassis import rpc
from services.chassis.config import part, variable
from services.chassis.telemetry import Settings as Telemetry
from services.classifier import heads

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
