"""Environment variables that LiteLLM's configuration file sets, as `environment_variables` and `general_settings`.

A process reads the file once, at its start, as it reads its environment. What the environment says goes before what
the file says.
"""

from collections.abc import Mapping
from pathlib import Path

from services.chassis import yaml
from services.chassis.deployments import reference

__all__ = ["of_gateway", "variables"]

# Of general_settings, and the variable of Lumni that means the same.
_GENERAL: Mapping[str, str] = {"master_key": "LUMNI_ADMIN_KEY", "database_url": "DATABASE_URL"}


def variables(file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, and behind it the file's `environment_variables`.

    Raises:
        Mistakes: the file is not there, or no YAML mapping.
    """
    section = yaml.load(file).section("environment_variables")
    found = {name: section.text(name, "") for name in section.keys}
    resolved = {
        name: environ.get(reference(value), "") if reference(value) else value
        for name, value in found.items()
    }
    return {**resolved, **{name: value for name, value in environ.items() if value or name not in resolved}}


def of_gateway(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the gateway and its ledger, and behind it what the file's `general_settings` say.

    Raises:
        Mistakes: the file is no YAML mapping.
    """
    file = Path(environ.get("LUMNI_CONFIG_DIR") or "config") / "litellm_config.yaml"
    completed = dict(environ)
    if not file.exists():
        return completed
    known = variables(file, environ)
    section = yaml.load(file).section("general_settings")
    for setting, name in _GENERAL.items():
        value = section.text(setting, "")
        resolved = known.get(reference(value), "") if reference(value) else value
        if resolved and not completed.get(name):
            completed[name] = resolved
    return completed
