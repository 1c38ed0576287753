"""What is configured at the moment: deployments, the engines that call them, and their keys.

The file is read again when it changes; a file with a mistake is reported once and the last good one stays in force.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from services.chassis import credentials, litellm_config
from services.chassis.config import Mistakes
from services.chassis.deployments import Deployment, Fleet
from services.chassis.watch import Watch
from services.executor.engines.base import Engine

log = logging.getLogger(__name__)

# A caller's key: sent to a provider it would be given away.
OURS = "sk-lumni-"


class Keys:
    """Provider keys, resolved from the environment as it was at start."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._in_file: dict[str, str] = {}

    def read_file(self, path: Path, fleet: Fleet) -> None:
        """Take keys that stand in the file itself, warning about each.

        Raises:
            OSError, ValueError, LookupError, TypeError, YAMLError: the file is another one by now.

        """
        found = {}
        if any(deployment.key_in_file for deployment in fleet.deployments):
            entries = yaml.safe_load(path.read_text())["model_list"]
            for deployment in fleet.deployments:
                if deployment.key_in_file:
                    found[deployment.id] = str(entries[deployment.entry]["litellm_params"]["api_key"])
            for place in sorted({one.entry for one in fleet.deployments if one.key_in_file}):
                log.warning(
                    "the key of %s stands in the file; put it into the environment",
                    entries[place]["model_name"],
                )
        self._in_file = found

    def of(self, deployment: Deployment) -> str | None:
        """The key of a deployment; None when it needs none.

        Raises:
            LookupError: it needs one and there is none, or the one there is is a caller's.

        """
        key = self._in_file.get(deployment.id) or self._environ.get(deployment.key_ref, "")
        if key.startswith(OURS):
            raise LookupError(f"{deployment.key_ref}: holds a key of Lumni, not of a provider")
        if key:
            return key
        if absent := credentials.missing(deployment, self._environ):
            raise LookupError(f"{absent}: is not set")
        return None

    def reachable(self, deployment: Deployment) -> bool:
        """Whether there is all it takes to call a deployment."""
        if credentials.missing(deployment, self._environ):
            return False
        try:
            self.of(deployment)
        except LookupError:
            return False
        return True


class Directory:
    """The fleet in force."""

    def __init__(self, path: Path, keys: Keys, engine_for: Callable[[Deployment], Engine]) -> None:
        """Read the file.

        Raises:
            Mistakes: the file has mistakes.

        """
        self._path = path
        self._keys = keys
        self._engine_for = engine_for
        self._file = Watch(path)
        self._take(litellm_config.load(path))

    @property
    def fleet(self) -> Fleet:
        """All that is configured, in the file's order."""
        return self._fleet

    def find(self, ident: str) -> tuple[Deployment, Engine] | None:
        """A deployment with the engine that calls it."""
        return self._known.get(ident)

    def key(self, deployment: Deployment) -> str | None:
        """The key of a deployment; None when it needs none."""
        return self._keys.of(deployment)

    def is_callable(self, deployment: Deployment) -> bool:
        """Whether there is all it takes to call it."""
        return self._keys.reachable(deployment)

    def retries(self, deployment: Deployment) -> int:
        """How often a deployment may be called again."""
        return self._fleet.num_retries if deployment.num_retries is None else deployment.num_retries

    def timeout_s(self, deployment: Deployment, *, stream: bool) -> float:
        """How many seconds it may stay silent."""
        own = deployment.stream_timeout_s if stream else 0.0
        return own or deployment.timeout_s or self._fleet.timeout_s

    async def watch(self, every_s: float) -> None:
        """Read the file again whenever it changes, until cancelled."""
        async for _ in self._file.changes(every_s):
            self._reload()

    def _reload(self) -> None:
        try:
            self._take(litellm_config.load(self._path))
        except (Mistakes, OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as mistake:
            log.error("the changed configuration is not used: %s", mistake)  # noqa: TRY400  (its lines say all)
        else:
            log.info("the changed configuration is in force: %d deployments", len(self._fleet.deployments))

    def _take(self, fleet: Fleet) -> None:
        self._keys.read_file(self._path, fleet)
        self._fleet = fleet
        self._known = {
            deployment.id: (deployment, self._engine_for(deployment)) for deployment in fleet.deployments
        }
        for warning in fleet.warnings:
            log.warning("%s", warning)
