"""The selector over the two configuration files and the measured scores, read again whenever one of them changes."""

import asyncio
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from services.chassis import learning, litellm_config, lumni_config, measured_scores, price_overrides
from services.chassis.config import Mistakes
from services.chassis.watch import Watch
from services.selector.models import catalog, options
from services.selector.models.benchmarks import CATEGORIES
from services.selector.models.deployment_table import DeploymentTable
from services.selector.ranking.select import Selector

log = logging.getLogger(__name__)

FILES = ("litellm_config.yaml", "lumni.yaml", measured_scores.FILE)
# Prices of a replay, which go before those of the fleet.
PRICES = "prices.yaml"


class Configuration:
    """What is in force: `selector` is replaced whole, so a request sees one configuration."""

    def __init__(self, folder: Path) -> None:
        """Read the files of a folder.

        Raises:
            Mistakes: what is wrong with one of them, with its line.
        """
        self._folder = folder
        self._files = Watch(*(folder / name for name in FILES))
        self.selector = assemble(folder)

    async def watch(self, every_s: float) -> None:
        """Read the files again whenever one changes, until cancelled."""
        async for _ in self._files.changes(every_s):
            await self._reload()

    def other(self, texts: Mapping[str, str]) -> Selector:
        """A selector by other texts of some of the files, `PRICES` among them; takes as long as a reload.

        Raises:
            Mistakes: what is wrong with them, with their lines.
        """
        with TemporaryDirectory(prefix="lumni-replay-") as temporary:
            folder = Path(temporary)
            for name in FILES:
                if not texts.get(name) and (self._folder / name).exists():
                    shutil.copy(self._folder / name, folder)
            for name, text in texts.items():
                if text:
                    (folder / name).write_text(text, encoding="utf-8")
            return assemble(folder, folder / PRICES if texts.get(PRICES) else None)

    async def _reload(self) -> None:
        try:
            # In a thread: building a large table takes longer than a request may take.
            self.selector = await asyncio.to_thread(assemble, self._folder)
        except (Mistakes, OSError) as mistake:
            log.error("the changed configuration is not used: %s", mistake)  # noqa: TRY400  (the lines hold everything)
            return
        log.info("the changed configuration is in force: %d deployments", len(self.selector.table))


def read_options(path: Path) -> options.Options:
    """The selector's sections of `lumni.yaml`; a file that is not there changes nothing.

    Raises:
        Mistakes: every one, with its line.
    """
    if not path.exists():
        return options.Options()
    root = lumni_config.load(path)
    found = options.read(root.section("selector"), learning.read(root))
    root.finish()
    return found


def assemble(config_dir: Path, prices: Path | None = None) -> Selector:
    """A selector over the configuration in a folder; the prices of a file, if one is given, go before the fleet's.

    Raises:
        Mistakes: what is wrong with one of the files, with its line.
    """
    chosen = read_options(config_dir / FILES[1])
    known = catalog.load().with_overrides(chosen.catalog)
    fleet = litellm_config.load(config_dir / FILES[0])
    if prices is not None:
        fleet = price_overrides.applied(fleet, prices)
    measured = measured_scores.load(config_dir / FILES[2], CATEGORIES)
    return Selector(DeploymentTable(fleet, known, chosen, measured), known)
