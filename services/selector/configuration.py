"""The selector over the two configuration files, read again whenever one of them changes."""

import asyncio
import logging
from pathlib import Path

from services.chassis import litellm_config, lumni_config
from services.chassis.config import Mistakes
from services.chassis.watch import Watch
from services.selector.models import catalog, options
from services.selector.models.deployment_table import DeploymentTable
from services.selector.ranking.select import Selector

log = logging.getLogger(__name__)

FILES = ("litellm_config.yaml", "lumni.yaml")


class Configuration:
    """What is in force: `selector` is replaced whole, so a request sees one configuration."""

    def __init__(self, folder: Path) -> None:
        """Read the files of a folder.

        Raises:
            Mistakes: what is wrong with either of them, with its line.
        """
        self._folder = folder
        self._files = Watch(*(folder / name for name in FILES))
        self.selector = assemble(folder)

    async def watch(self, every_s: float) -> None:
        """Read the files again whenever one changes, until cancelled."""
        async for _ in self._files.changes(every_s):
            await self._reload()

    async def _reload(self) -> None:
        try:
            # In a thread: building a large table takes longer than a request may take.
            self.selector = await asyncio.to_thread(assemble, self._folder)
        except (Mistakes, OSError) as mistake:
            log.error("the changed configuration is not used: %s", mistake)  # noqa: TRY400  (the lines hold everything)
            return
        log.info("the changed configuration is in force: %d deployments", len(self.selector.table))


def read_options(path: Path) -> options.Options:
    """The selector's section of `lumni.yaml`; a file that is not there changes nothing.

    Raises:
        Mistakes: every one, with its line.
    """
    if not path.exists():
        return options.Options()
    root = lumni_config.load(path)
    found = options.read(root.section("selector"))
    root.finish()
    return found


def assemble(config_dir: Path) -> Selector:
    """A selector over the configuration in a folder.

    Raises:
        Mistakes: what is wrong with either file, with its line.
    """
    chosen = read_options(config_dir / FILES[1])
    known = catalog.load().with_overrides(chosen.catalog)
    fleet = litellm_config.load(config_dir / FILES[0])
    return Selector(DeploymentTable(fleet, known, chosen), known)
