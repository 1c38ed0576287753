"""Who sees what of the environment that everything on one machine is started in."""

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest

from scripts.env_example import PROCESSES
from services.chassis.config import Secret, Secrets
from services.local import environment

# Their processes read them all, or they are made for each.
OF_ALL = {"PORTKEY_API_KEY", "LUMNI_SELECTOR_REDIS_URL", "LUMNI_EXECUTOR_REDIS_URL"}


def secrets(kind: Any) -> Iterator[str]:
    """The variables of a class of settings that hold secrets."""
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if item.metadata.get("part"):
            yield from secrets(hints[item.name])
        elif hints[item.name] in (Secret, Secrets):
            yield item.metadata["variable"]


def test_every_secret_is_given_by_name() -> None:
    settings = (importlib.import_module(module).Settings for module in PROCESSES.values())
    found = {name for kind in settings for name in secrets(kind)}

    assert "LUMNI_CACHE_KEY" in found
    assert found - OF_ALL <= environment.SECRETS


@pytest.mark.parametrize("process", ["executor", "selector", "classifier", "ledger", "model"])
def test_a_secret_of_the_gateway_reaches_no_other(process: str) -> None:
    environ = dict.fromkeys(environment.OF_GATEWAY, "a secret") | {"LUMNI_LOG_LEVEL": "INFO"}

    assert environment.inherited(process, environ).keys() <= {"LUMNI_LOG_LEVEL"}
