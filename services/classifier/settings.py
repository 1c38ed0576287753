"""What the classifier reads from its environment."""

from dataclasses import dataclass
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
    shadow: str = variable(
        SHADOW,
        "",
        "version that judges what another serves, for metrics and replays, perhaps a share of it: mine=0.1",
    )
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
        self.shadowing()

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
        pairs = [_pair(entry) for entry in self.versions]
        names = [_name(VERSIONS, name) for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{VERSIONS}: {twice[0]} stands there more than once")
        given = {name: _share(VERSIONS, share) for name, share in pairs if share is not None}
        left = 1.0 - sum(given.values())
        open_ended = len(names) - len(given)
        if open_ended > 1 or left < -1e-6 or (not open_ended and left > 1e-6):
            raise ValueError(f"{VERSIONS}: shares add up to 1; at most one version goes without")
        return [(name, given.get(name, max(0.0, left))) for name in names]

    def shadowing(self) -> tuple[str, float] | None:
        """The shadow and its share of the requests; None without one.

        Raises:
            ValueError: a name that is none, or a share that is no number from 0 to 1.
        """
        if not self.shadow:
            return None
        name, share = _pair(self.shadow)
        return _name(SHADOW, name), 1.0 if share is None else _share(SHADOW, share)


def _pair(entry: str) -> tuple[str, str | None]:
    """A version, and its share as it is written, if it is."""
    name, equals, share = (word.strip() for word in entry.partition("="))
    return name, share if equals else None


def _share(setting: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    # Put so that NaN is refused as well.
    if not 0 <= share <= 1:
        raise ValueError(f"{setting}: a share must be a number from 0 to 1")
    return share


def _name(setting: str, version: str) -> str:
    try:
        return heads.check_name(version)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
