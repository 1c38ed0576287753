"""The gateway's part of the two configuration files: read when it starts, and again whenever one of them changes."""

import asyncio
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import prometheus_client

from services.chassis import litellm_config, yaml
from services.chassis.config import Mistakes
from services.chassis.deployments import Fleet
from services.chassis.watch import Watch
from services.gateway.config import alerts, facts, plans, switches
from services.gateway.config.alerts import Thresholds
from services.gateway.config.live import Live
from services.gateway.config.plans import Plans
from services.gateway.config.switches import Switches
from services.gateway.mirroring import definition as mirroring
from services.gateway.mirroring.definition import Mirror
from services.gateway.prompts import system_prompts
from services.gateway.prompts.system_prompts import Configured

log = logging.getLogger(__name__)

# Letters of a version: as many as tell the versions of one installation apart.
VERSION_LENGTH = 12
FILES = ("litellm_config.yaml", "lumni.yaml")
RELOADS = prometheus_client.Counter(
    "lumni_gateway_configuration_reloads",
    "Changes of the configuration files, by whether they are in force or hold a mistake.",
    ["outcome"],
)


@dataclass(frozen=True, slots=True)
class Contents:
    """What the two files say, and their version."""

    version: str
    fleet: Fleet
    plans: Plans
    switches: Switches
    system_prompts: Configured
    mirrors: Mapping[str, Mirror]
    alerts: Thresholds
    # Sections that others read, and what is read at the start alone, as facts.
    elsewhere: Mapping[str, str]

    @property
    def facts(self) -> dict[str, str]:
        """All that the files say, by name; never a secret."""
        said = {rule.name: rule.text for rule in self.system_prompts.written.rules}
        said |= {name: str(one.reference) for name, one in self.system_prompts.stored.items()}
        return {
            **facts.of(self.fleet, self.plans, self.switches, self.alerts, said),
            **self.elsewhere,
        }


class Configuration:
    """What is in force."""

    def __init__(self, folder: Path) -> None:
        """Read the files of a folder.

        Raises:
            Mistakes: what is wrong with either of them, with its line.
        """
        self._folder = folder
        self._files = Watch(*(folder / name for name in FILES))
        found = read(folder)
        self.contents = found
        # Why the files as they are now are not in force; empty when they are.
        self.mistake = ""
        _warn(found.fleet)
        self.version = Live(found.version)
        self.fleet = Live(found.fleet)
        self.plans = Live(found.plans)
        self.switches = Live(found.switches)
        self.system_prompts = Live(found.system_prompts)
        self.mirrors = Live(found.mirrors)

    async def watch(self, every_s: float) -> None:
        """Read the files again whenever one changes, until cancelled; one with a mistake changes nothing."""
        async for _ in self._files.changes(every_s):
            await self._reload()

    async def _reload(self) -> None:
        try:
            # In a thread: a long file takes longer than a request may take.
            self._take(await asyncio.to_thread(read, self._folder))
        except (Mistakes, OSError) as mistake:
            RELOADS.labels("mistake").inc()
            self.mistake = str(mistake)
            log.error("the changed configuration is not used: %s", mistake)  # noqa: TRY400  (its lines say all)
            return
        except Exception as error:
            # Unforeseen: no file of an operator's may end a gateway that serves.
            RELOADS.labels("mistake").inc()
            self.mistake = f"the files cannot be read: {type(error).__name__}"
            log.exception("the changed configuration cannot be read and is not used")
            return
        RELOADS.labels("taken").inc()
        log.info(
            "the changed configuration is in force: version %s, %d plans",
            self.version.current,
            len(self.plans.current.by_name),
        )

    def _take(self, found: Contents) -> None:
        _warn(found.fleet)
        self.contents, self.mistake = found, ""
        self.version.replace(found.version)
        self.fleet.replace(found.fleet)
        self.plans.replace(found.plans)
        self.switches.replace(found.switches)
        self.system_prompts.replace(found.system_prompts)
        self.mirrors.replace(found.mirrors)


def read(folder: Path) -> Contents:
    """Read both files of a folder.

    Raises:
        Mistakes: what is wrong with either of them, with its line.
    """
    fleet, lumni = (folder / name for name in FILES)
    known = plans.load(lumni)
    return Contents(
        version=version_of(folder),
        fleet=litellm_config.load(fleet),
        plans=known,
        switches=switches.load(lumni),
        system_prompts=system_prompts.load(lumni, known.by_name),
        mirrors=mirroring.load(lumni, known.by_name),
        alerts=alerts.load(lumni),
        elsewhere=dict(_elsewhere(fleet, lumni)),
    )


def _elsewhere(fleet: Path, lumni: Path) -> Iterator[tuple[str, str]]:
    for section in ("environment_variables", "general_settings"):
        yield from facts.written(section, yaml.load(fleet).plain(section, None), hidden=True)
    for section in ("selector", "mirror", "learning", "exploration"):
        yield from facts.written(section, yaml.load(lumni).plain(section, None), hidden=False)


def version_of(folder: Path) -> str:
    """The version of the files of a folder: the beginning of a digest of all that they hold."""
    digest = hashlib.sha256()
    for name in FILES:
        path = folder / name
        text = path.read_bytes() if path.exists() else b""
        digest.update(len(text).to_bytes(8) + text)
    return digest.hexdigest()[:VERSION_LENGTH]


def _warn(fleet: Fleet) -> None:
    for warning in fleet.warnings:
        log.warning("%s", warning)
