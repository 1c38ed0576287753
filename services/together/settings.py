"""What is inside, from the environment: each service reads its own variables, some under a name of its own."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis import config, configured_environment, rpc, telemetry
from services.chassis.config import Mistakes, Secret, variable
from services.gateway.settings import Settings as Gateway

# In the order in which they start: each before the gateway, which calls it; and the executor before the selector, which
# reads at its start what the executor says of keys: the first request must not meet a model without one.
BEHIND = ("executor", "selector", "classifier")


@dataclass(frozen=True)
class Settings:
    """What each service inside would read under a name that they all share."""

    classifier: str = variable(
        "LUMNI_CLASSIFIER_LISTEN", rpc.INPROC, "address of the classifier's gRPC server; inproc: is none"
    )
    selector: str = variable("LUMNI_SELECTOR_LISTEN", rpc.INPROC, "as this, of the selector")
    executor: str = variable("LUMNI_EXECUTOR_LISTEN", rpc.INPROC, "as this, of the executor")
    selector_redis: Secret = variable(
        "LUMNI_SELECTOR_REDIS_URL", Secret(""), "REDIS_URL of the selector; the gateway's by default"
    )
    executor_redis: Secret = variable(
        "LUMNI_EXECUTOR_REDIS_URL", Secret(""), "REDIS_URL of the executor; the gateway's by default"
    )


@dataclass(frozen=True)
class Inside:
    """The services of one process, by name, with their settings."""

    gateway: Gateway
    behind: Mapping[str, Any]

    @property
    def server(self) -> rpc.Settings:
        """How the gateway serves, and in how many processes all of it."""
        return self.gateway.server

    @property
    def addresses(self) -> list[str]:
        """Where all of it listens."""
        inside = [own.listen for own in self.behind.values() if own.listen != rpc.INPROC]
        return [*self.gateway.addresses, *inside]

    @property
    def telemetry(self) -> telemetry.Settings:
        """Where logs, spans and metrics of all go."""
        return self.gateway.telemetry


def read(environ: Mapping[str, str]) -> Inside:
    """The settings of the gateway and of those services whose target is inproc:, which is the default.

    Raises:
        Mistakes: one line for each variable that is missing or unreadable, in whichever service.
    """
    environ = configured_environment.of_gateway(environ)
    # A line that several services would say is said once.
    mistakes: dict[str, None] = {}

    def settings(kind: type[Any], variables: Mapping[str, str]) -> Any:
        try:
            return config.from_environ(kind, variables)
        except Mistakes as found:
            mistakes.update(dict.fromkeys(found.lines))
            return None

    targets = {name: environ.get(f"LUMNI_{name.upper()}") or rpc.INPROC for name in BEHIND}
    gateway = settings(
        Gateway, {**environ, **{f"LUMNI_{name.upper()}": target for name, target in targets.items()}}
    )
    own = settings(Settings, environ)
    behind = {}
    for name in (name for name in BEHIND if targets[name] == rpc.INPROC):
        # A service that is elsewhere need not be installed here.
        kind = importlib.import_module(f"services.{name}.settings").Settings
        redis_url = getattr(own, f"{name}_redis", Secret("")).reveal()
        behind[name] = settings(
            kind,
            {
                **environ,
                "LUMNI_LISTEN": getattr(own, name, rpc.INPROC),
                "REDIS_URL": redis_url or environ.get("REDIS_URL", ""),
            },
        )
    if mistakes:
        raise Mistakes(list(mistakes))
    return Inside(gateway, behind)
