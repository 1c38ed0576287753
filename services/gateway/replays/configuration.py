"""The configuration of a replay as the gateway reads it: the plans, and what the deployments of the fleet cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from lumni.selector.v1 import selector_pb2

from services.chassis import errors, litellm_config, lumni_config, price_overrides
from services.chassis.config import Mistakes
from services.chassis.prices import Price
from services.gateway.config import plans
from services.gateway.config.plans import AtLimit, Plan

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What differs from what was or is in force.

    Attributes:
        lumni_yaml: Text of another `lumni.yaml`; empty for none, as of the other files.
        litellm_yaml: Text of another `litellm_config.yaml`.
        prices_yaml: Text of a file of prices.
        powerful_share: Another share of powerful requests.
        classifier_version: The version of the classifier whose classifications count; empty for that of then.

    """

    lumni_yaml: str = ""
    litellm_yaml: str = ""
    prices_yaml: str = ""
    powerful_share: float | None = None
    classifier_version: str = ""

    @property
    def message(self) -> selector_pb2.ReplayConfiguration | None:
        """What the selector is told; None where no file differs."""
        texts = (self.lumni_yaml, self.litellm_yaml, self.prices_yaml)
        if not any(texts):
            return None
        return selector_pb2.ReplayConfiguration(
            lumni_yaml=self.lumni_yaml, litellm_yaml=self.litellm_yaml, prices_yaml=self.prices_yaml
        )


@dataclass(frozen=True, slots=True)
class OtherConfiguration:
    """What follows for classifications, policies and prices; without plans the policies of then stay."""

    plans: Mapping[str, Plan] | None
    prices: Mapping[str, Price]
    powerful_share: float | None = None
    classifier_version: str = ""

    def knows(self, plan: str) -> bool:
        """Whether requests of a plan can be replayed."""
        return self.plans is None or plan in self.plans

    def apply(
        self, plan: str, policy: selector_pb2.Policy, *, strategy_of_plan: bool, split_of_plan: bool
    ) -> None:
        """Change a policy of then to what it is now: what key and request said stays."""
        if self.plans is not None:
            chosen = self.plans[plan]
            policy.access_groups[:] = chosen.access_groups
            policy.free_tail = chosen.at_limit is AtLimit.FREE
            if strategy_of_plan:
                policy.strategy = chosen.strategy
            if split_of_plan:
                policy.ClearField("split")
                if chosen.powerful_share is not None:
                    policy.powerful_share = chosen.powerful_share
        if self.powerful_share is not None and split_of_plan:
            policy.powerful_share = self.powerful_share


def read(folder: Path, wanted: Wanted) -> OtherConfiguration:
    """Read what is wanted, and what is in force in a folder where nothing else is; takes as long as a start.

    Raises:
        Invalid: a text with mistakes, by its field, with their lines.
    """
    with TemporaryDirectory(prefix="lumni-replay-") as temporary:
        place = Path(temporary)
        fleet_file = folder / "litellm_config.yaml"
        if wanted.litellm_yaml:
            fleet_file = _written(place / fleet_file.name, wanted.litellm_yaml)
        fleet = _checked("litellm_yaml", lambda: litellm_config.load(fleet_file))
        if wanted.prices_yaml:
            prices_file = _written(place / "prices.yaml", wanted.prices_yaml)
            fleet = _checked("prices_yaml", lambda: price_overrides.applied(fleet, prices_file))
        known = None
        if wanted.lumni_yaml:
            file = _written(place / "lumni.yaml", wanted.lumni_yaml)
            # A file with nothing but the selector's section changes no plan.
            if "plans" in _checked("lumni_yaml", lambda: lumni_config.load(file)):
                known = _checked("lumni_yaml", lambda: plans.load(file)).by_name
    prices = {one.id: one.price for one in fleet.deployments}
    return OtherConfiguration(known, prices, wanted.powerful_share, wanted.classifier_version)


def _written(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def _checked(field: str, read_file: Callable[[], T]) -> T:
    try:
        return read_file()
    except Mistakes as mistakes:
        raise errors.Invalid(f"{field}: {mistakes}", param=field) from mistakes
