"""What alerts read of the two configuration files: when the ledger starts, and again whenever one of them changes."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.chassis import litellm_config
from services.chassis.config import Mistakes
from services.chassis.watch import Watch
from services.gateway.config import alerts
from services.gateway.config.alerts import Thresholds
from services.gateway.config.live import Live

log = logging.getLogger(__name__)

FILES = ("litellm_config.yaml", "lumni.yaml")


@dataclass(frozen=True, slots=True)
class _Contents:
    thresholds: Thresholds
    providers: Mapping[str, str]


class AlertConfiguration:
    """What is in force."""

    def __init__(self, folder: Path) -> None:
        """Read the files of a folder.

        Raises:
            Mistakes: what is wrong with either of them, with its line.
        """
        self._folder = folder
        self._files = Watch(*(folder / name for name in FILES))
        found = _read(folder)
        self.thresholds = Live(found.thresholds)
        # The provider of each deployment, by its id.
        self.providers = Live(found.providers)

    async def watch(self, every_s: float) -> None:
        """Read the files again whenever one changes, until cancelled; one with a mistake changes nothing."""
        async for _ in self._files.changes(every_s):
            try:
                found = await asyncio.to_thread(_read, self._folder)
            except (Mistakes, OSError) as mistake:
                log.error("the changed configuration of alerts is not used: %s", mistake)  # noqa: TRY400  (its lines say all)
            except Exception:
                # Unforeseen: no file of an operator's may keep usage from being written.
                log.exception("the changed configuration of alerts cannot be read and is not used")
            else:
                self.thresholds.replace(found.thresholds)
                self.providers.replace(found.providers)
                log.info("the changed configuration of alerts is in force")


def _read(folder: Path) -> _Contents:
    fleet = litellm_config.load(folder / "litellm_config.yaml")
    return _Contents(alerts.load(folder / "lumni.yaml"), {one.id: one.provider for one in fleet.deployments})
